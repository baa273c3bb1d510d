"""AWS End User Messaging SMS (API pinpoint-sms-voice-v2): one text per signed POST, events and texts by SNS.

Never does IO, never decides. Sources, all as of 2026-11-28:
 - https://docs.aws.amazon.com/pinpoint/latest/apireference_smsvoicev2/API_SendTextMessage.html (requests, errors; and
   the service model in botocore, 2022-03-31)
 - https://docs.aws.amazon.com/sms-voice/latest/userguide/configuration-sets-event-types.html (events)
 - https://docs.aws.amazon.com/sms-voice/latest/userguide/two-way-sms-payload.html (texts that come in)
"""

import re
from typing import ClassVar, Literal
from urllib.parse import urlsplit

import msgspec

from smsd.provider import (
    Accepted,
    Answer,
    Attempt,
    BadCallback,
    BadSignature,
    Callback,
    Capabilities,
    Greeting,
    HttpRequest,
    HttpResponse,
    Inbound,
    Receipt,
    ReceiptStatus,
    Unknown,
)
from smsd.secret import Secret
from smsd_providers import _proof, _sigv4, _sns, _vendor, _wire
from smsd_providers._aws_words import CODES, EVENTS, REASONS

TTL_S = (5, 259_200)
_REGION = re.compile(r"[a-z]{2}(-[a-z]+){1,2}-[0-9]{1,2}")


class AwsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a provider of type "aws". Events come by SNS without raw delivery, subscribed to our URL, from one of
    `topics`; or by an EventBridge API destination, proven by `callbacks`. `sns_certificate` is for rehearsals alone:
    who has its key is believed in Amazon's place, and `base_url` confirms subscriptions too.
    """

    region: str
    access_key_id: Secret
    secret_access_key: Secret
    session_token: Secret | None = None
    configuration_set: str = ""  # whose event destinations tell of the message; "": nobody does
    message_type: Literal["TRANSACTIONAL", "PROMOTIONAL"] = "TRANSACTIONAL"
    topics: tuple[str, ...] = ()  # ARNs
    callbacks: _proof.Callbacks | None = None
    sns_certificate: str = ""  # PEM
    base_url: str = ""  # "": the region's own

    def __post_init__(self) -> None:
        _proof.check(self.callbacks)
        if not _REGION.fullmatch(self.region):
            raise ValueError("region: is one of AWS's, such as eu-west-1")
        if self.base_url:
            _vendor.checked_base_url(self.base_url)
        for topic in self.topics:
            if not topic.startswith("arn:aws"):
                raise ValueError("topics: are ARNs, such as arn:aws:sns:eu-west-1:123456789012:receipts")
        if self.sns_certificate:
            try:
                _sns.public_key(self.sns_certificate.encode())
            except ValueError:
                raise ValueError("sns_certificate: is a PEM certificate with an RSA key, for rehearsals only") from None


class Aws(_vendor.Vendor):
    """One AWS account in one region, made from its config table."""

    Options: ClassVar[type[msgspec.Struct]] = AwsOptions
    capabilities = Capabilities(inbound=True, callback_per_message=False, greets=True, one_webhook=True)

    def __init__(self, name: str, options: AwsOptions) -> None:
        id_, secret = options.access_key_id.reveal(), options.secret_access_key.reveal()
        token = options.session_token.reveal() if options.session_token else ""
        self._proof = _proof.Proof(options.callbacks)
        suffix = ".cn" if options.region.startswith("cn-") else ""
        base_url = options.base_url or f"https://sms-voice.{options.region}.amazonaws.com{suffix}"
        super().__init__(name, base_url, [id_, secret, token, *self._proof.secrets])
        self._key = _sigv4.Key(id_, secret, options.region, "sms-voice")
        self._headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "PinpointSMSVoiceV2.SendTextMessage",
            **({"X-Amz-Security-Token": token} if token else {}),
        }
        self._fixed = {"MessageType": options.message_type, "ConfigurationSetName": options.configuration_set}
        self._topics = frozenset(options.topics)
        pem = options.sns_certificate.encode()
        self._pinned = _sns.public_key(pem) if pem else None

    def submit(self, attempt: Attempt) -> HttpRequest:
        message, (least_s, most_s) = attempt.message, TTL_S
        fields = {
            "DestinationPhoneNumber": message.to,
            "OriginationIdentity": message.sender,
            "MessageBody": message.body,
            **self._fixed,
            "TimeToLive": min(max(attempt.valid_s, least_s), most_s) if attempt.valid_s else 0,
            "Context": {"ref": attempt.reference},
        }
        body = msgspec.json.encode({name: value for name, value in fields.items() if value})
        at = _sigv4.date(attempt.leased_us)
        headers = {**self._headers, "X-Amz-Date": at}
        parts = urlsplit(self._base_url)
        signed = {**headers, "Host": parts.netloc}
        proof = _sigv4.authorization(self._key, ("POST", f"{parts.path}/", ""), signed, body, at)
        return HttpRequest("POST", f"{self._base_url}/", (*headers.items(), ("Authorization", proof)), body)

    def answer(self, response: HttpResponse) -> Answer:
        document = _wire.decode(response.body)
        kind, id_, reason, what, field = _wire.texts(
            document, "/__type", "/MessageId", "/Reason", "/ResourceType", "/Fields/0/Name"
        )
        if response.status == 200:
            return Accepted(id_) if id_ else Unknown("200", "taken, but the answer names no message")
        kind = kind.rpartition("#")[2] or response.headers.get("x-amzn-errortype", "").partition(":")[0]
        known = [code for code in (f"{kind}/{told}" for told in (field, reason, what)) if code in CODES]
        detail = next((text for text in _wire.texts(document, "/Message", "/message") if text), reason)
        return _vendor.answered(CODES, response, known[0] if known else kind, detail)

    def greeting(self, callback: Callback) -> Greeting | None:
        """SNS asks once whether we want a topic's messages: by its SubscribeURL we say so."""
        told = _sns.message_of(_wire.decode(callback.body))
        if told.get("Type") != "SubscriptionConfirmation":
            return None
        _sns.prove(told, callback, self._topics, self._pinned)
        url = _wire.scalar(told.get("SubscribeURL"))
        home = self._pinned is not None and url.startswith(f"{self._base_url}/?Action=ConfirmSubscription&")
        if not (home or _sns.SUBSCRIBE.fullmatch(url)):
            raise BadSignature
        return Greeting(request=HttpRequest("GET", url))

    def receipts(self, callback: Callback) -> list[Receipt]:
        event = self._authentic(callback)
        if _wire.scalar(_wire.pick(event, "/inboundMessageId")):
            return []
        id_, word, to, reference, at = _wire.texts(
            event, "/messageId", "/eventType", "/destinationPhoneNumber", "/context/ref", "/eventTimestamp"
        )
        if not id_ or word not in EVENTS:
            raise BadCallback(f"an event has messageId, and an eventType that is one of {', '.join(EVENTS)}")
        told: dict[str, object] = {"provider_id": id_, "reference": reference, "to": to, "error_code": ""}
        if len(at) == 13 and at.isascii() and at.isdecimal():
            told["at_ms"] = int(at)
        if word == "TEXT_SUCCESSFUL" and _wire.pick(event, "/isFinal") is not True:
            told["status"] = ReceiptStatus.SENT
        return [_vendor.receipt(EVENTS, REASONS, word, word, **told)]

    def inbound(self, callback: Callback) -> list[Inbound]:
        event = self._authentic(callback)
        id_, sender, to, text = _wire.texts(
            event, "/inboundMessageId", "/originationNumber", "/destinationNumber", "/messageBody"
        )
        if _wire.scalar(_wire.pick(event, "/eventType")):
            return []
        if not id_ or not sender:
            raise BadCallback("a text has inboundMessageId and originationNumber")
        return [Inbound(id_, sender, to, text)]

    def _authentic(self, callback: Callback) -> object:
        """The event in a proven message of SNS, or of EventBridge."""
        document = _wire.decode(callback.body)
        told = _sns.message_of(document)
        if "Type" not in told:
            self._proof.check(callback)
            return _wire.pick(document, "/detail")
        _sns.prove(told, callback, self._topics, self._pinned)
        return _wire.decode(_wire.scalar(told.get("Message")).encode("utf-8", "replace"))
