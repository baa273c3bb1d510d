"""What AWS End User Messaging SMS says, and what it means: the codes of its errors, the types of its events.

Never reads a document: where they stand in one, `aws` knows.
"""

from smsd.provider import ReceiptStatus, Refused, Throttled, Unusable
from smsd_providers import _vendor

CODES = _vendor.codes(
    (Throttled(), "ThrottlingException TooManyRequestsException RequestThrottledException"),
    (
        Unusable("the access key or its signature was refused", "process"),
        "UnrecognizedClientException InvalidClientTokenId InvalidSignatureException SignatureDoesNotMatch"
        " IncompleteSignatureException IncompleteSignature MissingAuthenticationTokenException"
        " MissingAuthenticationToken ExpiredTokenException RequestExpired",
    ),
    (
        Unusable("the account may not do this", "account"),
        "AccessDeniedException AccessDeniedException/ACCOUNT_DISABLED OptInRequired NotAuthorized"
        " AccessDeniedException/INSUFFICIENT_ACCOUNT_REPUTATION ResourceNotFoundException/configuration-set",
    ),
    (
        Unusable("the account's quota or spending limit is reached", "account", ends="funds"),
        "ServiceQuotaExceededException ServiceQuotaExceededException/MONTHLY_SPEND_LIMIT_REACHED_FOR_TEXT",
    ),
    (Refused("bad_number"), "ValidationException/DestinationPhoneNumber ValidationException/COUNTRY_CODE_MISMATCH"),
    (Refused("opted_out"), "ConflictException/DESTINATION_PHONE_NUMBER_OPTED_OUT"),
    (Refused("blocked"), "ConflictException/DESTINATION_PHONE_NUMBER_BLOCKED_BY_PROTECT_NUMBER_OVERRIDE"),
    (Refused("content"), "ValidationException/MessageBody ValidationException/MAXIMUM_SIZE_EXCEEDED"),
    (
        Refused("sender", elsewhere=True),
        "ConflictException/NO_ORIGINATION_IDENTITIES_FOUND ConflictException/MESSAGE_TYPE_MISMATCH"
        " ConflictException/NUMBER_CAPABILITIES_MISMATCH ConflictException/RESOURCE_NOT_ACTIVE"
        " ResourceNotFoundException ValidationException/OriginationIdentity"
        " ValidationException/INVALID_IDENTITY_FOR_DESTINATION_COUNTRY ValidationException/RESOURCE_NOT_ACCESSIBLE"
        " ValidationException/INTERNATIONAL_SENDING_NOT_SUPPORTED ValidationException/SENDER_ID_NOT_REGISTERED"
        " ValidationException/SENDER_ID_NOT_SUPPORTED ValidationException/SENDER_ID_REQUIRES_REGISTRATION",
    ),
    (
        Refused("config", elsewhere=True),
        "ConflictException/DESTINATION_COUNTRY_BLOCKED_BY_PROTECT_CONFIGURATION ValidationException/CHANNEL_NOT_ENABLED"
        " ConflictException/DESTINATION_PHONE_NUMBER_NOT_VERIFIED ValidationException/COUNTRY_NOT_ENABLED"
        " ValidationException/DESTINATION_COUNTRY_BLOCKED ValidationException/PRICE_OVER_THRESHOLD",
    ),
    (Refused("refused"), "ValidationException ConflictException"),
)
"""`__type` of an error with its Reason, its ResourceType or the field at fault: the service model, 2022-03-31, and the
errors common to all of AWS.
"""

EVENTS: dict[str, ReceiptStatus] = {
    "TEXT_QUEUED": ReceiptStatus.QUEUED,
    "TEXT_PENDING": ReceiptStatus.SENT,
    "TEXT_SENT": ReceiptStatus.SENT,
    "TEXT_UNKNOWN": ReceiptStatus.SENT,  # after 72 hours without a word: says nothing that is final
    "TEXT_SUCCESSFUL": ReceiptStatus.DELIVERED,  # taken by the carrier: counts where it is told to be final
    "TEXT_DELIVERED": ReceiptStatus.DELIVERED,
    "TEXT_INVALID": ReceiptStatus.UNDELIVERED,
    "TEXT_INVALID_MESSAGE": ReceiptStatus.UNDELIVERED,
    "TEXT_UNREACHABLE": ReceiptStatus.UNDELIVERED,
    "TEXT_CARRIER_UNREACHABLE": ReceiptStatus.UNDELIVERED,
    "TEXT_BLOCKED": ReceiptStatus.UNDELIVERED,
    "TEXT_CARRIER_BLOCKED": ReceiptStatus.UNDELIVERED,
    "TEXT_PROTECT_BLOCKED": ReceiptStatus.UNDELIVERED,
    "TEXT_SPAM": ReceiptStatus.UNDELIVERED,
    "TEXT_TTL_EXPIRED": ReceiptStatus.UNDELIVERED,
}
"""`eventType`: userguide/configuration-sets-event-types, 2026-11-28."""

REASONS = _vendor.codes(
    (Refused("refused"), "TEXT_UNREACHABLE TEXT_CARRIER_UNREACHABLE TEXT_TTL_EXPIRED"),
    (Refused("bad_number"), "TEXT_INVALID"),
    (Refused("content"), "TEXT_INVALID_MESSAGE"),
    (Refused("blocked"), "TEXT_BLOCKED TEXT_CARRIER_BLOCKED TEXT_PROTECT_BLOCKED"),
    (Refused("filtered"), "TEXT_SPAM"),
)
"""What such an event's name says of why."""
