"""Kannel's sendsms, and gateways that speak like it: one text per POST or GET, receipts by dlr-url.

Never does IO, never decides. Sources, all as of 2026-11-28:
 - https://www.kannel.org/download/1.5.0/userguide-1.5.0/userguide.html (sendsms, dlr-mask, escape codes of dlr-url)
 - Kannel's source, as github.com/vaska94/kannel has it on 2026-01-19 and github.com/pruiz/kannel on 2014-04-11:
   gw/smsbox.c (texts and statuses of answers, X-Kannel headers of a POST), gw/dlr.h (the values of receipts, 34 and 66
   in the newer one), gw/bb_smscconn.c, gw/smsc/smsc_smpp.c and smpp_pdu.h (what stands after NACK/)
"""

import re
from collections.abc import Mapping
from typing import ClassVar, Literal
from urllib.parse import quote

import msgspec

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadCallback,
    Callback,
    Capabilities,
    Deferred,
    HttpRequest,
    HttpResponse,
    Inbound,
    Receipt,
    ReceiptStatus,
    Refused,
    Unknown,
    Unusable,
)
from smsd.secret import Secret
from smsd_providers import _proof, _vendor, _wire

TAKEN = ("0", "3", "sent")  # "0: Accepted for delivery", "3: Queued for later delivery", "Sent." before it is asked

CODES = _vendor.codes(
    (Unusable("name, password or our address was refused", "process"), "authorization-failed-for-sendsms"),
    (Refused("config", elsewhere=True), "not-routable"),
    (Refused("bad_number"), "missing-receiver-number missing-receiver-s-number-s empty-receiver-number-not-allowed"),
    (
        Refused("blocked", elsewhere=True),
        "number-s-has-have-been-denied-by-white-and-or-black-lists number-s-has-have-been-denied-by-white-black-lists",
    ),
    (Refused("sender", elsewhere=True), "sender-missing-and-no-global-set"),
    (Refused("content"), "charset-or-body-misformed"),
    (Refused("config"), "dlr-url-field-misformed dlr-mask-field-misformed coding-field-misformed"),
    (Refused("config"), "validity-field-misformed account-field-misformed-or-too-long"),
)
"""The first sentence of an answer, its words joined: gw/smsbox.c of both, 2026-11-28."""

NACKS = _vendor.codes(
    (Refused("bad_number"), "0x0000000b 0x00000050 0x00000051"),
    (Refused("sender"), "0x0000000a 0x00000048 0x00000049 sender-not-in-white-list sender-in-black-list"),
    (Refused("blocked"), "receiver-not-in-white-list receiver-in-black-list"),
    (Refused("content"), "0x00000001 0x00000104 malformed-sms"),
    (Refused("config"), "0x00000015 0x00000053 0x00000062 0x00000100 0x00000101 0x00000102 0x00000103 no-smsc"),
    (Refused("refused"), "0x00000008 0x00000014 0x00000045 0x00000058 0x00000064 0x00000065 0x00000066 0x000000fe"),
    (Refused("refused"), "retries-exceeded validity-expired"),
)
"""A refusal in the escape %A of a receipt, "NACK/0x0000000b/Invalid ..." where it is the SMSC's (SMPP 3.4, §5.1.3;
smpp_pdu.h), and Kannel's own words, joined, where it is not (bb_smscconn.c): 2026-11-28.
"""

STATUSES: dict[str, ReceiptStatus] = {
    "1": ReceiptStatus.DELIVERED,
    "2": ReceiptStatus.UNDELIVERED,
    "4": ReceiptStatus.SENT,  # waits at the SMSC
    "8": ReceiptStatus.SENT,  # taken by the SMSC
    "16": ReceiptStatus.UNDELIVERED,  # refused by the SMSC
    "34": ReceiptStatus.UNDELIVERED,  # expired
    "66": ReceiptStatus.SENT,  # unknown: says nothing that is final
}
"""The escape %d of dlr-url: user guide, Delivery Reports, and gw/dlr.h, 2026-11-28."""

MASK = "31"  # all of 1 2 4 8 16
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_SPLITS = re.compile(r"Message splits: ([0-9]{1,3})")
_NACK = re.compile(r"NACK/(0x[0-9a-f]{8}|[^/]+)")
_ERR = re.compile(r"\berr:([0-9A-Za-z]{1,8})")


class KannelOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "kannel". `callbacks` guards the URLs; Kannel repeats "path" or "query". Texts
    come in by a sms-service with max-messages = 0 and a get-url that ends in
    /inbound?id=%I&from=%q&to=%Q&text=%b, its secret in it.
    """

    base_url: str  # of sendsms itself, such as http://127.0.0.1:13013/cgi-bin/sendsms
    username: str
    password: Secret
    method: Literal["POST", "GET"] = "POST"  # GET has the password in its URL
    smsc: str = ""  # which of Kannel's connections; "": Kannel decides
    callbacks: _proof.Callbacks | None = None

    def __post_init__(self) -> None:
        _vendor.checked_base_url(self.base_url)
        _proof.check(self.callbacks)
        told = [secret.reveal() for secret in self.callbacks.secrets] if self.callbacks else []
        if any(quote(secret, safe="") != secret for secret in told):  # in a dlr-url, % begins an escape of Kannel's
            raise ValueError(
                "callbacks.secrets: may have letters, digits and - . _ ~ here, for Kannel reads a % itself"
            )


class Kannel(_vendor.Vendor):
    """One user of a Kannel. Its answers name no message (newer builds may), and so do its receipts: our reference, in
    the URL that it calls, is all that they are known by.
    """

    Options: ClassVar[type[msgspec.Struct]] = KannelOptions
    capabilities = Capabilities(inbound=True, ids=False)

    def __init__(self, name: str, options: KannelOptions) -> None:
        self._proof = _proof.Proof(options.callbacks)
        self._account = {"username": options.username, "password": options.password.reveal(), "smsc": options.smsc}
        super().__init__(name, options.base_url, [self._account["password"], *self._proof.secrets])
        self._post = options.method == "POST"

    def submit(self, attempt: Attempt) -> HttpRequest:
        message, url = attempt.message, self._proof.told(attempt.callback_url)
        fields = {
            **self._account,
            "from": message.sender,
            "to": message.to,
            "coding": "2" if message.encoding == "UCS-2" else "0",
            "validity": str(max(1, attempt.valid_s // 60)) if attempt.valid_s else "",
            "dlr-mask": MASK if url else "",
            "dlr-url": _escaped(url),
        }
        if not self._post:
            query = _wire.form({**fields, "charset": "UTF-8", "text": message.body})
            return HttpRequest("GET", f"{self._base_url}?{query}")
        told = [(f"X-Kannel-{_HEADERS.get(name, name.title())}", value) for name, value in fields.items() if value]
        return HttpRequest(
            "POST", self._base_url, (("Content-Type", "text/plain; charset=UTF-8"), *told), message.body.encode()
        )

    def answer(self, response: HttpResponse) -> Answer:
        text = response.body[:1000].decode("utf-8", "replace").strip()
        code = re.sub("[^a-z0-9]+", "-", re.split("[.,:]", text, maxsplit=1)[0].lower()).strip("-")[:64]
        if response.status in (200, 202):
            if code not in TAKEN:
                return Unknown(str(response.status), _wire.said(text))
            id_, splits = _ID.search(text), _SPLITS.search(text)
            return Accepted(id_[0] if id_ else "", int(splits[1]) if splits else 0)
        if response.status == 503 and code == "temporal-failure":  # the bearerbox has said no
            return Deferred(code, _wire.said(text))
        # A gateway that speaks like it may put a number into the sentence, which no code may carry.
        return _vendor.answered(CODES, response, code if code in CODES else str(response.status), text)

    def receipts(self, callback: Callback) -> list[Receipt]:
        fields, reference = self._authentic(callback), _vendor.reference(callback)
        word, answer = fields.get("type", ""), fields.get("answer", "")
        if word not in STATUSES or not reference:
            raise BadCallback(f"a receipt has our ref, and a type that is one of {', '.join(STATUSES)}")
        nack, err = _NACK.search(answer), _ERR.search(answer)
        code = nack[1].strip().lower().replace(" ", "-") if nack else ""
        if code not in NACKS and not code.startswith("0x"):  # an SMSC's own words, which may be any
            code = "nack" if code else ""
        told = {"reference": reference, "to": fields.get("to", ""), "error_code": code or (err[1] if err else "")}
        return [_vendor.receipt(STATUSES, NACKS, word, code, **told)]

    def inbound(self, callback: Callback) -> list[Inbound]:
        fields = self._authentic(callback)
        id_, sender = fields.get("id", ""), fields.get("from", "")
        if not id_ or not sender:
            raise BadCallback("a text has the fields id and from, as the get-url in the documentation gives them")
        return [Inbound(id_, sender, fields.get("to", ""), fields.get("text", ""))]

    def _authentic(self, callback: Callback) -> Mapping[str, str]:
        self._proof.check(callback)
        return _vendor.fields(callback)


_HEADERS = {"dlr-url": "DLR-Url", "dlr-mask": "DLR-Mask", "smsc": "SMSC"}


def _escaped(url: str) -> str:
    """A callback URL with Kannel's escapes at its end, and none in it: a % would begin one."""
    return f"{url.replace('%2F', '/').replace('%3A', ':')}&type=%d&answer=%A" if url else ""
