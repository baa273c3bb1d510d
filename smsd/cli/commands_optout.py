"""The rows of the commands about who has opted out (smsd/cli/optout.py). Holds no code that does anything."""

from smsd.cli.command import CONFIG, JSON, ROWS, YES, Command, count, option, switch, word

NUMBER = word("NUMBER", "the person's, as +353861234567")
OF = (
    option("--tenant", "TENANT", "the tenant's list: nothing of it goes to who is on it"),
    option("--sender", "SENDER", "the sender's list, whichever tenant uses it; * is the provider's choice"),
)

OPTOUTS = (
    Command(
        "optout list",
        "smsd.cli.optout:list_",
        "List who has opted out, and how",
        (
            *OF,
            option("--limit", "N", "at most so many; 0: all", read=count, default=100),
            switch("--private", "with whole numbers"),
            CONFIG,
            JSON,
        ),
        example="smsd optout list --tenant acme",
    ),
    Command(
        "optout add",
        "smsd.cli.optout:add",
        "Close marketing, or all, to one number",
        (
            NUMBER,
            *OF,
            option("--scope", "SCOPE", "what is closed", choices=("marketing", "all"), default="all"),
            CONFIG,
            JSON,
        ),
        more="It holds for what is queued too. A wider scope that is closed already stays.",
        example="smsd optout add +353861234567 --tenant acme --scope marketing",
    ),
    Command(
        "optout remove",
        "smsd.cli.optout:remove",
        "Take one number off a list",
        (NUMBER, *OF, YES, CONFIG, JSON),
        more="It asks first; without a terminal it wants --yes. A provider that has blocked the number itself goes on "
        "to refuse it until the person texts START.",
        codes=("1 when the number was not on the list, or the answer was no",),
        example="smsd optout remove +353861234567 --tenant acme --yes",
    ),
    Command(
        "optout import",
        "smsd.cli.optout:import_",
        "Close marketing, or all, to every number of a file",
        (
            ROWS,
            *OF,
            switch("--skip-mistakes", "take the lines without a mistake; else one mistake stops all"),
            CONFIG,
            JSON,
        ),
        more="The columns are number, and any of scope (all, where none is given), tenant, sender, at, source and "
        "provider, as export writes them; --tenant or --sender says whose a line is that names neither. The source of "
        "all of them is import. Every mistake is told with its line.",
        codes=("1 when --skip-mistakes left some out", "2 when there is a mistake, and nothing was closed"),
        example="smsd optout import stopped.csv --tenant acme",
    ),
    Command(
        "optout export",
        "smsd.cli.optout:export",
        "Print who has opted out as a file that import reads",
        (*OF, CONFIG, JSON),
        more="CSV; with --json a JSON object on each line. It holds whole numbers: keep it as such.",
        example="smsd optout export > stopped.csv",
    ),
)
