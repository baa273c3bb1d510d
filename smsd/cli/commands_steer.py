"""The rows of the commands that stop and go, of tenants' settings and of dead entries; commands.py has the whole table.

Holds no code that does anything.
"""

from smsd.cli.command import CONFIG, JSON, ROWS, YES, Command, count, option, switch, tenant, whole, word

NAMES = word("NAME", "what it is called; a campaign is called TENANT NAME", name="names", times="*")
REASON = option("--reason", "TEXT", "why, kept with it", blank=True)

PAUSED = {
    "all": (),
    "tenant": ("tenant",),
    "class": ("class_",),
    "campaign": ("tenant", "campaign"),
    "sender": ("sender",),
    "provider": ("provider",),
}
"""What can be paused, and the names that it takes."""

CANCELLED = {
    "message": ("tenant", "id"),
    "campaign": ("tenant", "campaign"),
    "class": ("class_",),
    "tenant": ("tenant",),
}
"""What can be cancelled, likewise."""

STEER = (
    Command(
        "pause",
        "smsd.cli.steer:pause",
        "Pause sending, or list what is paused",
        (
            word("WHAT", "what is paused; without it all pauses are listed", times="?", choices=tuple(PAUSED)),
            NAMES,
            option("--for", "TIME", "as 30m or 12h; else until it is resumed", name="for_"),
            REASON,
            CONFIG,
            JSON,
        ),
        more="It holds in every process at once, whatever is queued. Taking in goes on, and so does what has left. Who "
        "paused it, when and why is kept.",
        example='smsd pause tenant acme --for 30m --reason "asked by the tenant"',
    ),
    Command(
        "resume",
        "smsd.cli.steer:resume",
        "Lift a pause",
        (word("WHAT", "what goes on", choices=tuple(PAUSED)), NAMES, CONFIG, JSON),
        codes=("1 when it was not paused",),
        example="smsd resume campaign acme spring",
    ),
    Command(
        "cancel",
        "smsd.cli.steer:cancel",
        "Cancel what waits, or list what was cancelled",
        (
            word("WHAT", "what is cancelled; without it all cancels are listed", times="?", choices=tuple(CANCELLED)),
            word("NAME", "what it is called: TENANT ID, TENANT NAME, CLASS or TENANT", name="names", times="*"),
            option("--tenant", "TENANT", "of a class: only this tenant's messages"),
            REASON,
            switch("--lift", "of a campaign: what comes from now on is sent again"),
            YES,
            CONFIG,
            JSON,
        ),
        more="It says how many queued messages it concerns and asks first; without a terminal it wants --yes. What has "
        "left is not called back. A campaign stays cancelled, also for what comes later, until it is lifted; of a "
        "tenant or a class only what was there is cancelled.",
        codes=("1 when a message has left already, or the answer was no",),
        example="smsd cancel campaign acme spring --yes",
    ),
)

FILTERS = (
    option("--tenant", "TENANT", "only this tenant's"),
    option("--reason", "REASON", "only those, as unroutable"),
    option("--class", "CLASS", "only of this class's inbox", name="class_"),
    option("--since", "TIME", "from then on: as 2h (ago), or as 2026-11-24T10:00:00+01:00"),
    option("--before", "TIME", "until then: likewise"),
)
IDS = word("ID", "dead entries; without one all that the options leave", name="ids", times="*")
OLDEST = option("--limit", "N", "at most so many, the oldest first; 0: all", read=count, default=0)

DEAD = (
    Command(
        "dead list",
        "smsd.cli.dead:list_",
        "List entries that could not be taken, and why",
        (
            *FILTERS,
            option("--limit", "N", "the last N, up to 1000", read=whole, default=20),
            option("--older", "ID", "only those that are older than this entry: the page before"),
            CONFIG,
            JSON,
        ),
        more="No more than 10,000 entries of a shard are read for one page, however few are found: it says how to go "
        "on from there.",
        example="smsd dead list --tenant acme --since 2h",
    ),
    Command(
        "dead show",
        "smsd.cli.dead:show",
        "Show one entry that could not be taken",
        (
            word("ID", "the dead entry, as dead list tells it"),
            switch("--private", "also to whom it goes and what it says"),
            CONFIG,
            JSON,
        ),
        codes=("1 when there is none (any more)",),
        example="smsd dead show 1764288000000-0",
    ),
    Command(
        "dead redrive",
        "smsd.cli.dead:redrive",
        "Put entries back into the inbox that they came from",
        (IDS, *FILTERS, OLDEST, YES, CONFIG, JSON),
        more="Each goes back in one step, as it was written: none is lost or doubled, whatever happens meanwhile. It "
        "says how many there are and asks first; without a terminal it wants --yes.",
        codes=("1 when some came from no inbox and stay, or the answer was no",),
        example="smsd dead redrive --reason unroutable --since 2h --yes",
    ),
    Command(
        "dead purge",
        "smsd.cli.dead:purge",
        "Forget entries that could not be taken",
        (IDS, *FILTERS, OLDEST, YES, CONFIG, JSON),
        more="It says how many there are and asks first; without a terminal it wants --yes.",
        codes=("1 when the answer was no",),
        example="smsd dead purge --before 168h --yes",
    ),
)

OF_TENANT = word("TENANT", "whose settings", read=tenant)
AGAIN = "; give it again for more"
SETTINGS = (
    "limits", "class_limits", "plan", "sender", "sender_pool", "region", "route", "countries", "zone", "stop_closes",
    "cancel_words",
)  # fmt: skip

TENANTS = (
    Command(
        "tenant set",
        "smsd.cli.tenant:set_",
        "Change settings of one tenant",
        (
            OF_TENANT,
            option("--limit", "LIMIT", f"as 20/s or 50000/d{AGAIN}", name="limits", again=True),
            option("--class-limit", "CLASS=LIMIT", f"as marketing=10/s{AGAIN}", name="class_limits", again=True),
            option("--plan", "NAME", "a plan of the config"),
            option("--sender", "SENDER", "a number, short code or name"),
            option("--sender-pool", "NAME", "a pool of the config, before the sender"),
            option("--region", "CODE", "the country of national numbers, as IE"),
            option("--route", "NAME", "a route of the config"),
            option("--country", "CODE", f"where texts may go, as IE{AGAIN}", name="countries", again=True),
            option("--zone", "ZONE", "the time zone, as Europe/Dublin"),
            option("--stop-closes", "SCOPE", "what a STOP closes at least", choices=("marketing", "all")),
            option("--cancel-words", "MEANING", "what CANCEL means in a reply", choices=("stop", "appointment")),
            option("--unset", "KEY", f"what is the config's again{AGAIN}", again=True, choices=SETTINGS),
            CONFIG,
            JSON,
        ),
        more="What is not given stays as it was set. It holds in every process within a second, before what the config "
        "says of the tenant, and for what is queued too.",
        example="smsd tenant set acme --limit 50/s --limit 100000/d --class-limit marketing=10/s",
    ),
    Command(
        "tenant show",
        "smsd.cli.tenant:show",
        "Show what was set for one tenant, and what holds for it",
        (OF_TENANT, CONFIG, JSON),
        example="smsd tenant show acme",
    ),
    Command(
        "tenant drop",
        "smsd.cli.tenant:drop",
        "Drop what was set for one tenant",
        (OF_TENANT, YES, CONFIG, JSON),
        more="No message is dropped: what is queued goes on under the config's settings. It asks first; without a "
        "terminal it wants --yes.",
        codes=("1 when nothing was set, or the answer was no",),
        example="smsd tenant drop acme --yes",
    ),
    Command(
        "tenant import",
        "smsd.cli.tenant:import_",
        "Set what a file says of many tenants",
        (
            ROWS,
            switch("--skip-mistakes", "set those without a mistake; else one mistake stops all"),
            CONFIG,
            JSON,
        ),
        more="CSV has a column tenant and any of limits, class_limits.CLASS, plan, sender, sender_pool, region, "
        "route, countries, zone, stop_closes and cancel_words; several limits or countries are separated by semicolons "
        "and an empty cell sets nothing. A line of "
        'JSON is such as {"tenant": "acme", "limits": ["50/s"], "class_limits": {"marketing": ["10/s"]}}. A line goes '
        "in the place of all that was set for its tenant. Every mistake is told with its line.",
        codes=("1 when --skip-mistakes left some out", "2 when there is a mistake, and nothing was set"),
        example="smsd tenant import tenants.csv",
    ),
)
