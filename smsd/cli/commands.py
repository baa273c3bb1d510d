"""The table of all commands: what each takes and says of itself. Parser, help, completion and docs are made of it.

Holds no code that does anything: a command's function is imported when it is typed. A test proves that each function
takes what its row says.
"""

from pathlib import Path

from smsd.cli.command import CONFIG, JSON, Command, number, option, switch, tenant, whole, word
from smsd.cli.commands_optout import OPTOUTS
from smsd.cli.commands_steer import DEAD, STEER, TENANTS
from smsd.cli.commands_webhooks import WEBHOOKS

TENANT = word("TENANT", "whose message it is", read=tenant)

RUN = (
    Command(
        "run",
        "smsd.cli.operate:run",
        "Run the daemon",
        (
            option("--workers", "N", "processes that share the work", read=whole, default=1),
            CONFIG,
            switch("--with-parent", "drain and end when standard input does"),
            switch("--verbose", "log more"),
        ),
        more="SIGTERM and SIGINT drain it, SIGHUP reloads the config.",
        codes=("1 when a worker hung past the drain and was killed",),
        example="smsd run --config smsd.toml --workers 2",
    ),
    Command(
        "check",
        "smsd.cli.operate:check",
        "Print every mistake in the config, with what would be right",
        (switch("--diff", "also say what would change of what is in force, in words"), CONFIG, JSON),
        more="With --diff it tells who gets faster, slower or cut off, and what else changes, for all hosts.",
        codes=(
            "2 when there is a mistake",
            "1 when --diff finds that smsd reload would refuse it, whatever else changes 0",
        ),
        example="smsd check --diff --config smsd.toml",
    ),
    Command(
        "reload",
        "smsd.cli.operate:reload",
        "Put the config in force in every process of every host",
        (switch("--force", "also drop what messages wait for, or tenants were given"), CONFIG, JSON),
        more="It is checked first, and may be an older one. What is in [store], [http], [webhooks] and [otel] belongs "
        "to one host: a SIGHUP reads these again; addresses, [store] and [otel] hold until a restart.",
        codes=(
            "1 when messages wait for what it drops, or tenants were given it, and nothing was changed; "
            "under --force they wait or expire",
        ),
        example="smsd reload --config smsd.toml",
    ),
)

ASK = (
    Command(
        "send",
        "smsd.cli.ask:send",
        "Send one message and wait for its end",
        (
            TENANT,
            word("TO", "the recipient, as +353861234567"),
            word("BODY", "the text; one that begins with - goes after --", blank=True),
            option(
                "--class", "CLASS", "reminder, marketing, or another of the config", name="class_", default="reminder"
            ),
            option("--id", "ID", "the platform's own id; made up where none is given"),
            option("--from", "SENDER", "a number, short code or name; else the tenant's", name="sender"),
            option("--campaign", "NAME", "the campaign that it belongs to"),
            option("--not-before", "TIME", "as 2026-11-24T10:00:00+01:00, or in epoch milliseconds"),
            option("--not-after", "TIME", "likewise"),
            option("--timeout", "SECONDS", "how long its end is waited for; 0: not at all", read=number, default=60.0),
            CONFIG,
            JSON,
        ),
        codes=("0 when it was delivered, or with --timeout 0 enqueued", "1 when it ended otherwise, or not in time"),
        example='smsd send acme +353861234567 "See you at 10:00"',
    ),
    Command(
        "trace",
        "smsd.cli.ask_story:trace",
        "Tell the whole story of one message in plain words",
        (TENANT, word("ID", "its id; one that came without: CLASS-ENTRY_ID"), CONFIG, JSON),
        codes=("1 when the message is not known (any more)",),
        example="smsd trace acme r-1",
    ),
    Command(
        "limits",
        "smsd.cli.ask_story:limits",
        "Say what each limit of a tenant is, and which binds now",
        (TENANT, CONFIG, JSON),
        example="smsd limits acme",
    ),
    Command(
        "status",
        "smsd.cli.ask:status",
        "Show what waits, what is in flight and in force, who works",
        (CONFIG, JSON),
        codes=(
            "1 when nobody works, when another config than the file's is in force, or when a process works by another "
            "revision or with a file that is not in force",
        ),
        example="smsd status",
    ),
    Command(
        "top",
        "smsd.cli.top:top",
        "Watch what moves: rates, backlog, providers, tenants, limits",
        (
            option("--interval", "SECONDS", "between two looks", read=number, default=2.0),
            switch("--once", "one look, as plain text"),
            CONFIG,
            JSON,
        ),
        more="Keys: q ends it, p holds the picture still, s sorts by name or by number. Where it is not written to a "
        "terminal it prints one look after the other; with --json each is a line. Rates are those of the last ten "
        "seconds, by a sample of the events where these are many.",
        example="smsd top --interval 1",
    ),
    Command(
        "doctor",
        "smsd.cli.doctor:doctor",
        "Look for what is wrong, and say what would mend it",
        (CONFIG, JSON),
        more="It looks at the store, its clock and its streams, at the processes and their configs, at providers and "
        "this host, and changes nothing.",
        codes=("1 when something was found",),
        example="smsd doctor",
    ),
    Command(
        "health",
        "smsd.cli.ask:health",
        "Ask the smsd of this host whether it is ready",
        (CONFIG, JSON),
        codes=("1 when it is not",),
        example="smsd health",
    ),
)

TOOLS = (
    Command(
        "demo",
        "smsd.cli.tools:demo",
        "Run thousands of messages to a carrier and account for each",
        (
            option("--messages", "N", "how many to enqueue", read=whole, default=20_000),
            option("--tenants", "N", "how many send them", read=whole, default=4_000),
            option("--workers", "N", "processes of smsd run", read=whole, default=2),
            option("--seed", "N", "of the messages and of the carrier's faults", read=whole, default=1),
            option("--dialect", "NAME", "whose API the carrier speaks, such as telnyx", default="twilio"),
            option("--limit-s", "SECONDS", "for the messages to end", read=number, default=155.0),
            switch("--keep", "keep the folder: config, log, data of the store"),
            switch("--json", "print the ledger as one line of JSON, and nothing else"),
        ),
        more="Starts a store, a carrier and workers of its own, on free ports and in a folder of its own, and ends "
        "them all.",
        codes=("0 only when nothing was lost, nothing doubled without the flag, and every message is accounted for",),
        example="smsd demo --messages 2000 --tenants 100",
    ),
    Command(
        "carrier",
        "smsd.cli.tools:carrier",
        "Run the built-in carrier by itself, to try a config",
        more="It has many flags, for the faults that it makes: smsd carrier --help.",
        example="smsd carrier --profile plain",
        own_parser="smsd.testing.carrier:parser",
    ),
    Command(
        "segments",
        "smsd.cli.tools:segments",
        "Count the segments of a text, as providers bill them",
        (word("TEXT", "the text of a message; one that begins with - goes after --", blank=True), JSON),
        example='smsd segments "See you at 10:00"',
    ),
    Command(
        "schema",
        "smsd.cli.tools:schema",
        "Print the JSON Schema of smsd.toml, for editors",
        more='It knows the options of every provider that is installed. A file whose first line is "#:schema PATH" is '
        "judged by it while it is written; smsd check finds more.",
        example="smsd schema > smsd.schema.json",
    ),
    Command(
        "vet",
        "smsd.cli.tools:vet",
        "Hold a provider to its contract, without a network",
        (
            word("TARGET", "a type, such as twilio, or package.module:Class"),
            option(
                "--vectors",
                "FILE",
                "a JSON file of what only the vendor can tell, and of the options that the provider needs to be made",
                read=Path,
                default=None,
                file=True,
            ),
            JSON,
        ),
        more="docs/ADDING_A_PROVIDER.md shows a class and its vectors. A module is found where it is installed, or in "
        "a folder of $PYTHONPATH.",
        codes=("1 when it does not conform",),
        example="smsd vet acme_sms:Acme --vectors acme.json",
    ),
    Command(
        "completion",
        "smsd.cli.completion:completion",
        "Print what makes a shell complete commands and options",
        (word("SHELL", "the shell", choices=("bash", "zsh", "fish")),),
        more='For bash: eval "$(smsd completion bash)" in ~/.bashrc. For zsh: it is a file _smsd in a folder of '
        "$fpath. For fish: it is ~/.config/fish/completions/smsd.fish.",
        example="smsd completion bash > ~/.local/share/bash-completion/completions/smsd",
    ),
)

GROUPS = {
    "Run and change": RUN,
    "Ask": ASK,
    "Stop and go": STEER,
    "Tenants": TENANTS,
    "Opt-outs": OPTOUTS,
    "Dead entries": DEAD,
    "Status webhooks": WEBHOOKS,
    "Tools": TOOLS,
}
"""Commands as the help shows them."""

COMMANDS = {command.name: command for commands in GROUPS.values() for command in commands}
"""Every command by its name, which has two words where it belongs to a group of commands."""


def members(name: str) -> list[str]:
    """The names of the commands in a group of them; of all groups and commands, for no name."""
    return [known for known in COMMANDS if known.startswith(f"{name} ".lstrip())]
