"""The rows of the commands about status webhooks, for the table of all commands.

Holds no code that does anything; smsd/cli/webhooks.py does.
"""

from smsd.cli.command import CONFIG, JSON, YES, Command, option, tenant, word

NAME = word("NAME", "of [status_webhooks.NAME]; of a tenant's own: tenant:TENANT")

WEBHOOKS = (
    Command(
        "webhooks list",
        "smsd.cli.webhooks:list_",
        "List who is told of events, and what waits for each",
        (CONFIG, JSON),
        codes=("1 when one is disabled",),
        example="smsd webhooks list",
    ),
    Command(
        "webhooks enable",
        "smsd.cli.webhooks:enable",
        "Tell a receiver again that answered 410",
        (NAME, CONFIG, JSON),
        more="It is told from where it stopped: what happened meanwhile comes too, as far as [retention] events goes.",
        example="smsd webhooks enable platform",
    ),
    Command(
        "webhooks set",
        "smsd.cli.webhooks:set_",
        "Let one tenant be told of its events at a URL of its own",
        (
            word("TENANT", "who is to be told", read=tenant),
            option("--url", "URL", "public, and https"),
            option("--state", "STATE", "of which states; give it again for more", name="states", again=True),
            CONFIG,
            JSON,
        ),
        more="In the place of one that was set before, by command or API. It prints a new secret, which is shown "
        "nowhere else. A receiver of the operator's own is a table [status_webhooks.NAME] of the config.",
        example="smsd webhooks set acme --url https://acme.example/sms-events",
    ),
    Command(
        "webhooks show",
        "smsd.cli.webhooks:show",
        "Show where one tenant is told of its events, and what waits",
        (word("TENANT", "who is told", read=tenant), CONFIG, JSON),
        codes=("1 when it has set none, or is disabled",),
        example="smsd webhooks show acme",
    ),
    Command(
        "webhooks drop",
        "smsd.cli.webhooks:drop",
        "Tell one tenant nothing more at its own URL",
        (word("TENANT", "who is told", read=tenant), CONFIG, JSON),
        codes=("1 when it has set none",),
        example="smsd webhooks drop acme",
    ),
    Command(
        "webhooks replay",
        "smsd.cli.webhooks:replay",
        "Tell a receiver again what happened since some time",
        (
            NAME,
            option("--since", "TIME", "from then on, as 2h (ago) or 2026-11-24T10:00:00+01:00"),
            option("--until", "TIME", "likewise, and not from then on; else until now"),
            option("--tenant", "TENANT", "of one tenant only"),
            YES,
            CONFIG,
            JSON,
        ),
        more="Only what the receiver is told of anyway, by its tenants and states. The ids are the same, so that who "
        "drops repeats drops these: forget them first. It says how many there are and asks; without a terminal it "
        "wants --yes.",
        codes=("1 when a replay is under way, or the answer was no",),
        example="smsd webhooks replay platform --since 2h --yes",
    ),
)
