"""What tenants, messages and campaigns may be called (contract §2). Never imports anything that is slow to load."""

import re

TENANT = "[A-Za-z0-9_.:-]{1,64}"
ID = "[A-Za-z0-9_.:-]{1,128}"
ID_TOLD = "1 to 128 of A-Z, a-z, 0-9, _ . : and -"
TENANT_TOLD = "1 to 64 of A-Z, a-z, 0-9, _ . : and -"

is_tenant = re.compile(TENANT).fullmatch
is_id = re.compile(ID).fullmatch  # of a message or a campaign
