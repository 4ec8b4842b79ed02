"""The JSON Schemas of what looks the same in the `--json` output of every command."""

NULLABLE_TEXT = {"type": ["string", "null"]}
TEXTS = {"type": "array", "items": {"type": "string"}}
COUNT = {"type": "integer", "minimum": 0}
TIME = {"type": ["string", "null"], "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}


def an_object(**properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


# An amount, or with two nulls none; null where it is unknown.
MONEY = an_object(
    currency={"type": ["string", "null"], "pattern": "^[a-z]{3}$"}, amount={"type": ["integer", "null"]}
)
AMOUNT = {"anyOf": [MONEY, {"type": "null"}]}
SUMS = {"type": "array", "items": MONEY}

RUN = an_object(
    runId={"type": "string"},
    trigger={"enum": ["scheduled", "manual"]},
    status={"enum": ["running", "success", "completed_with_errors", "held", "failed"]},
    startedAt=TIME,
    completedAt=TIME,
    seconds={"type": ["integer", "null"]},
    windowFrom=TIME,
    windowTo=TIME,
    enqueued=COUNT,
    processed=COUNT,
    created=COUNT,
    missing=COUNT,
    skipped=COUNT,
    errors=COUNT,
    drifted=COUNT,
    filtered=COUNT,
    truncated={"type": "boolean"},
    warnings=TEXTS,
    failure={
        "anyOf": [
            {"type": "null"},
            an_object(
                errorType={"type": "string"},
                message={"type": "string"},
                at=TIME,
                attempts=COUNT,
                requestId=NULLABLE_TEXT,
            ),
        ]
    },
    stalledSince=TIME,
    sample={"anyOf": [{"type": "null"}, an_object(size=COUNT, missing=COUNT, money=SUMS)]},
)

PREDICTION = an_object(
    would={"enum": ["create", "skip", "fail", "missing"]},
    amount=AMOUNT,
    orderNumber=NULLABLE_TEXT,
    reason=NULLABLE_TEXT,
    drift=TEXTS,
    errorType=NULLABLE_TEXT,
    errorMessage=NULLABLE_TEXT,
    isPermanent={"type": "boolean"},
    chargesKnown={"type": "boolean"},
    detailsKnown={"type": "boolean"},
    waits={"type": "boolean"},
    attention=TEXTS,
    attentionUntil=TIME,
)

DEAD_LETTER = an_object(
    messageId={"type": "string"},
    sentAt=TIME,
    ageSeconds=COUNT,
    expiresAt=TIME,
    runId=NULLABLE_TEXT,
    sessionId=NULLABLE_TEXT,
    created=TIME,
    amount=AMOUNT,
    problem=NULLABLE_TEXT,
    errorType=NULLABLE_TEXT,
    errorMessage=NULLABLE_TEXT,
    outcome=NULLABLE_TEXT,
    reason=NULLABLE_TEXT,
    attempts={"type": ["integer", "null"]},
    outcomeOf=NULLABLE_TEXT,
    isSettled={"type": "boolean"},
    prospect={"anyOf": [PREDICTION, {"type": "null"}]},
    hasOrder={"type": ["boolean", "null"]},
    orderNumber=NULLABLE_TEXT,
)

FINDING = an_object(
    code={"type": "string", "pattern": "^[a-z0-9_]+$"},
    what={"type": "string", "minLength": 1},
    command=NULLABLE_TEXT,
    sessions=COUNT,
    money=SUMS,
    unknownAmounts=COUNT,
    url=NULLABLE_TEXT,
    verdict={"enum": ["ok", "advice", "fix", "unknown"]},
)
# The doctor names the checked thing as well.
FINDING["properties"]["name"] = {"type": "string"}
# The layout names the parameter that helps, and some of the sessions.
FINDING["properties"] |= {"setting": NULLABLE_TEXT, "examples": TEXTS}

SHAPES = {"money": MONEY, "run": RUN, "dead letter": DEAD_LETTER, "finding": FINDING}
