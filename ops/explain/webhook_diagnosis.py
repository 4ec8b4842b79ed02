"""Pure: what the events say of the webhook, whose order this is about."""

from ops.explain.facts import EventThere, Facts


def cause(facts: Facts) -> str:
    """Why the webhook's order was missing, as a sentence with a space before it; empty where nobody knows."""
    if not facts.events:
        return ""
    event = facts.events[-1]
    return f" {_of(event)}" if _of(event) else ""


def _of(event: EventThere) -> str:
    marker = event.marker
    if marker and marker.source != "webhook":
        return f"Its event {event.id} had not been delivered to the webhook."
    if marker and marker.order_created is False:
        return f"The webhook handled its event {event.id} and wrote no order."
    if not event.delivered:
        return f"Stripe has not been able to deliver its event {event.id} to the webhook."
    if marker is None:
        return f"Its event {event.id} counts as delivered, and the webhook has no record of it."
    return ""
