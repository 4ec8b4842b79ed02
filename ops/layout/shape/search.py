"""The keys that lead from the sampled sessions to items, by what the table shows. Writes nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from ops.layout.shape.holders import Holder
from ops.layout.shape.subjects import OWN_IDS, Subject, find_identifying, is_distinct
from ops.layout.shape.templates import HOLE, Literals, fill_forms, find_forms, learn, list_parts
from ops.layout.table_sample import MOST_QUERIES, Place, TableSample
from recon.domain.key_template import parse_template
from recon.dynamodb.table import Item

# A key is tried with a few sessions, and only the best ones with all of them.
PROBES = 5
FORMS = 3
RANGES = 4
FINALISTS = 4
# At most so many of the bounded number of queries are kept for the finalists, and at most half of them.
MOST_RESERVED = 250
MOST_CHOICES = 3
# Without a sample nothing shows the prefixes of the keys.
_USUAL_FORMS = (HOLE, f"ORDER#{HOLE}", f"USER#{HOLE}")

type Templates = tuple[tuple[str, str], ...]  # key attributes in their order, each with its template


@dataclass(frozen=True)
class Candidate:
    """A key made from the values of a session."""

    holder: Holder
    templates: Templates

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(path for _, text in self.templates for path in parse_template(text).paths)

    def make(self, values: Mapping[str, str]) -> Place | None:
        """Return where the item of a session is, or None if it lacks a value."""
        key = []
        for name, template in self.templates:
            text = parse_template(template).fill(values)
            if not text:
                return None
            key.append((name, text))
        return self.holder.index, tuple(key)


@dataclass(frozen=True)
class KeyMatch:
    """What a key leads to: the items by session id. `identifies` is False if it only leads to the user."""

    candidate: Candidate
    identifies: bool
    items: Mapping[str, Sequence[Item]] = field(compare=False)

    @property
    def rank(self) -> tuple[object, ...]:
        """Return the rank: keys of the table before indexes, Stripe's ids first, and little literal text."""
        paths, index = self.candidate.paths, self.candidate.holder.index
        own = any(path in OWN_IDS for path in paths)
        size = sum(len(text) for _, text in self.candidate.templates)
        literal = size - sum(len(f"{{{path}}}") for path in paths)
        return not self.identifies, -len(self.items), index is not None, not own, literal, size


class Reader:
    """Reads items by key: from the sample if that is the whole table, else with bounded queries."""

    def __init__(self, sample: TableSample, scanned: Sequence[Item]) -> None:
        self._sample = sample
        self.scanned = scanned
        self._by_name: dict[tuple[str, ...], dict[tuple[object, ...], list[Item]]] = {}
        self._reserved = min(MOST_RESERVED, (MOST_QUERIES - sample.counts.queries) // 2)

    @property
    def is_whole(self) -> bool:
        """Return whether every item is known."""
        return self._sample.is_whole

    @property
    def items(self) -> list[Item]:
        """Return all items that were read until now."""
        return self._sample.items

    def find(self, places: Sequence[Place], *, is_probe: bool = False) -> dict[Place, list[Item]]:
        """Return the items at these places, or nothing if there is no room for so many queries.

        A probe leaves room for the finalists.
        """
        if not self.is_whole:
            room = MOST_QUERIES - self._sample.counts.queries - (self._reserved if is_probe else 0)
            return self._sample.find(places) if room >= len(places) else {}
        return {place: self._look_up(place) for place in places}

    def _look_up(self, place: Place) -> list[Item]:
        names = tuple(name for name, _ in place[1])
        if names not in self._by_name:
            found = self._by_name[names] = {}
            for item in self.scanned:
                if all(isinstance(item.get(name), str) for name in names):
                    found.setdefault(tuple(item[name] for name in names), []).append(item)
        return self._by_name[names].get(tuple(value for _, value in place[1]), [])


def search(subjects: Sequence[Subject], holders: Sequence[Holder], reader: Reader) -> list[KeyMatch]:
    """Return the keys that lead to items of these sessions, the best first."""
    identifying = find_identifying(subjects)
    probes = list(subjects) if reader.is_whole else _spread(subjects)
    found = []
    for holder in holders:
        if holder.is_usable:
            candidates = _HolderSearch(holder, reader, subjects, probes, identifying).list_candidates()
            found += [evaluate(one, probes, reader, identifying, is_probe=True) for one in candidates]
    best = sorted((one for one in found if one.items), key=lambda one: one.rank)[:FINALISTS]
    finals = [evaluate(one.candidate, subjects, reader, identifying) for one in best]
    finals += _join(finals, subjects, reader, identifying)
    return sorted(finals, key=lambda one: one.rank)


def _spread(subjects: Sequence[Subject]) -> list[Subject]:
    step = max(1, len(subjects) // PROBES)
    return list(subjects[::step][:PROBES])


def evaluate(
    candidate: Candidate,
    subjects: Sequence[Subject],
    reader: Reader,
    identifying: frozenset[str],
    *,
    is_probe: bool = False,
) -> KeyMatch:
    """Return what a key leads to."""
    places = {one.session_id: place for one in subjects if (place := candidate.make(one.values))}
    known = reader.find(list(places.values()), is_probe=is_probe)
    items = {name: known[place] for name, place in places.items() if known.get(place)}
    identifies = not identifying.isdisjoint(candidate.paths) and is_distinct(list(places.values()))
    return KeyMatch(candidate, identifies, items)


def _join(
    finals: Sequence[KeyMatch], subjects: Sequence[Subject], reader: Reader, identifying: frozenset[str]
) -> Iterator[KeyMatch]:
    """Yield the keys `{a|b}` of finalists that differ in a path and find more together than alone."""
    groups: dict[tuple[Holder, Templates], list[KeyMatch]] = {}
    for one in finals:
        if one.identifies and len(one.candidate.paths) == 1:
            hole = f"{{{one.candidate.paths[0]}}}"
            form = tuple((name, text.replace(hole, HOLE)) for name, text in one.candidate.templates)
            groups.setdefault((one.candidate.holder, form), []).append(one)
    for (holder, form), group in groups.items():
        paths = [one.candidate.paths[0] for one in sorted(group, key=lambda one: one.rank)][:MOST_CHOICES]
        most = max(len(one.items) for one in group)
        orders = [order for order in product(paths, repeat=2) if len(set(order)) == len(order)]
        orders += [tuple(paths)] if len(paths) == MOST_CHOICES else []
        for order in orders:
            choice = f"{{{'|'.join(order)}}}"
            templates = tuple((name, text.replace(HOLE, choice)) for name, text in form)
            joined = evaluate(Candidate(holder, templates), subjects, reader, identifying)
            if len(joined.items) > most:
                yield joined


@dataclass(frozen=True)
class _HolderSearch:
    """The search in one table or index."""

    holder: Holder
    reader: Reader
    subjects: Sequence[Subject]
    probes: Sequence[Subject]
    identifying: frozenset[str]

    def list_candidates(self) -> list[Candidate]:
        """Return the keys that may lead to items."""
        first, *rest = self.holder.keys
        candidates = []
        for template in self._list_templates(first):
            partition = Candidate(self.holder, ((first, template),))
            if partition.paths and (not rest or self.holder.index):
                candidates.append(partition)
            if rest and (not self.holder.index or self.holder.types[1] == "S"):
                candidates += self._add_ranges(partition, rest[0])
        return candidates

    def _list_templates(self, name: str) -> list[str]:
        """Return the templates of a key attribute, those that items of the sessions show first."""
        texts = self._list_texts(name)
        literals = Literals(texts)
        by_part: dict[str, list[Subject]] = {}
        for subject in self.subjects:
            for value in set(subject.values.values()):
                by_part.setdefault(value, []).append(subject)
        shown: Counter[str] = Counter()
        for text in texts:
            owners = {one.session_id: one for part in list_parts(text) for one in by_part.get(part, ())}
            for subject in owners.values():
                shown.update(learn(text, subject.values, literals))
        forms = find_forms(texts, literals, FORMS) or _USUAL_FORMS
        guessed = [] if self.reader.is_whole else fill_forms(forms, self._list_paths())
        shared = [form for form in forms if HOLE not in form]
        return list(dict.fromkeys([*(text for text, _ in shown.most_common()), *shared, *guessed]))

    def _list_texts(self, name: str) -> list[str]:
        found = (item.get(name) for item in self.reader.scanned)
        return [text for text in found if isinstance(text, str) and text]

    def _list_paths(self) -> list[str]:
        """Return the paths that some session has a value of, those that identify an order first."""
        counts = Counter(path for subject in self.subjects for path in subject.values)
        paths = [path for path, _ in counts.most_common()]
        return sorted(paths, key=lambda path: (path not in self.identifying, path not in OWN_IDS))

    def _add_ranges(self, partition: Candidate, name: str) -> Iterator[Candidate]:
        """Yield the keys with a sort key, by what the partitions of the sessions hold."""
        places = {one.session_id: place for one in self.probes if (place := partition.make(one.values))}
        known = self.reader.find(list(places.values()), is_probe=True)
        literals = Literals(self._list_texts(name))
        shown: Counter[str] = Counter()
        for subject in self.probes:
            for item in known.get(places.get(subject.session_id, (None, ())), ()):
                text = item.get(name)
                if isinstance(text, str):
                    shown.update(set(learn(text, subject.values, literals)))
        ranges = [text for text, _ in shown.most_common(RANGES)]
        if not ranges and any(known.values()):
            # The last 50 items of large partitions may not include the sessions'.
            forms = find_forms(self._list_texts(name), literals, 1)
            paths = [path for path in self._list_paths() if path in self.identifying]
            ranges = fill_forms(forms, paths)[:RANGES]
        for template in ranges:
            candidate = replace(partition, templates=(*partition.templates, (name, template)))
            if candidate.paths:
                yield candidate
