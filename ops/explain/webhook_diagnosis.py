"""Why the webhook's order is missing, from the session's events. Pure."""

from ops.explain.facts import WEBHOOK, EventDelivery, SessionFacts
from recon.domain.order import SOURCE


def diagnose_webhook(facts: SessionFacts) -> str:
    """Return a sentence with a space before it, or an empty string if the events do not show the reason."""
    if not facts.events:
        return ""
    sentence = _diagnose_event(facts.events[-1])
    return f" {sentence}" if sentence else ""


def _diagnose_event(event: EventDelivery) -> str:
    marker = event.marker
    if marker and marker.source == SOURCE:
        return f"Its event {event.id} had not been delivered to the webhook."
    if marker and marker.order_created is False:
        handler = "The webhook" if marker.source == WEBHOOK else f"Another program ({marker.source})"
        return f"{handler} handled its event {event.id} but wrote no order."
    if not event.delivered:
        return f"Stripe has not been able to deliver its event {event.id} to the webhook."
    if marker is None:
        return f"Its event {event.id} is marked as delivered, but the webhook has no record of it."
    return ""
