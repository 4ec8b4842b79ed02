"""What `layout` says of a table with another layout: the file that finds its orders, or what it lacks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ops.format.text import quantity
from ops.layout.model import Code, Layout, LayoutFinding, SessionPlace, ShapeFile
from ops.layout.shape.file import add_comments, render
from ops.layout.shape.findings import (
    describe_attribute,
    describe_choice,
    describe_dead_end,
    describe_verified,
    describe_words,
    note,
)
from ops.layout.shape.holders import Holder, list_holders
from ops.layout.shape.index import IdAttribute, build_index_command, find_id_attribute
from ops.layout.shape.search import KeyMatch, Reader, evaluate, search
from ops.layout.shape.subjects import Subject, find_identifying, read_subjects
from ops.layout.shape.verify import Verified, Verifier
from ops.layout.shape.words import Words, choose_words
from ops.layout.table_sample import TableSample
from ops.runs.finding import Verdict
from producer.sample import Sampled
from recon.domain.key_template import parse_template
from recon.domain.order_keys import ORDER_PREFIX
from recon.domain.shape import parse_shape, strip_comments
from recon.dynamodb.table import Item
from recon.errors import NotAllowed
from recon.timestamps import to_iso

# Items of this system in a table of its layout, which are no orders.
_RECORDS = ("SYSTEM", "SYNC_RUN#", "SESSION#", "EVENT#")
_INTRODUCTION = "Where the orders of table {table} are, by {sessions} of the last 30 days."


@dataclass(frozen=True)
class ShapeSearch:
    """The table to search. `to_aws` completes a command of the AWS CLI."""

    verifier: Verifier
    sample: TableSample
    to_aws: Callable[[str], str]

    @property
    def _table(self) -> str:
        return self.verifier.table.shop

    def propose(self, sampled: Sequence[Sampled]) -> Layout:
        """Return the file that finds the orders of these sessions, and what is unsure about it.

        Raise the error of a lookup that failed.
        """
        subjects, holders = read_subjects(sampled), list_holders(self.verifier.description)
        try:
            scanned, is_denied = self.sample.scan() if subjects else [], False
        except NotAllowed:
            scanned, is_denied = [], True
        reader = Reader(self.sample, [item for item in scanned if not _is_record(item)])
        found = search(subjects, holders, reader)
        best = found[0] if found else None
        layout = None
        if best and best.identifies:
            layout = self._describe_key(subjects, holders, found, reader)
        elif attribute := find_id_attribute(subjects, [*filter(_is_no_record, reader.items)], holders):
            layout = self._describe_attribute(attribute, subjects, reader)
        elif best:
            layout = self._describe_key(subjects, holders, found, reader)
        if layout is None or layout.shape is None:
            is_other_case = self._finds_other_case(subjects, holders, reader)
            more = describe_dead_end(subjects, holders, is_other_case=is_other_case)
            layout = self._build(None, subjects, Verified(), [*(layout.findings if layout else ()), *more])
        if is_denied:
            denied = note(Code.NOT_SCANNED, _NOT_SCANNED, verdict=Verdict.UNKNOWN)
            layout = replace(layout, findings=(*layout.findings, denied))
        return layout

    def check(self, text: str, sampled: Sequence[Sampled]) -> Layout:
        """Return what a given file finds. Raise CommandError if it is wrong."""
        subjects = read_subjects(sampled)
        verified = self.verifier.verify(text, subjects)
        findings = list(describe_verified(verified, is_given=True))
        if not subjects:
            findings = [note(Code.NO_SESSIONS, _NO_SESSIONS, verdict=Verdict.UNKNOWN)]
        key = parse_shape(strip_comments(text)).key
        templates = [(name, str(template)) for name, template in key.items()]
        return self._build(_to_shape(text, verified), subjects, verified, findings, templates)

    def _describe_key(
        self,
        subjects: Sequence[Subject],
        holders: Sequence[Holder],
        found: Sequence[KeyMatch],
        reader: Reader,
    ) -> Layout:
        best = found[0]
        candidate = best.candidate
        # An index may have only some of the attributes.
        paid = [_project(item, candidate.holder) for items in best.items.values() for item in items]
        others = [_project(item, candidate.holder) for item in _find_similar(best, reader.items)]
        keys = {key for holder in holders for key in holder.keys}
        words = choose_words(paid, others, keys)
        text = render(self._table, candidate.holder.index, candidate.templates, words)
        verified = self.verifier.verify(text, subjects)
        cased = sum(self._count_other_case(best, subjects, reader))
        findings = [
            *describe_choice(found, cased),
            *describe_words(words, candidate.holder, reader.items),
            *describe_verified(verified, is_given=False),
        ]
        shape = _to_shape(text, verified)
        return self._build(shape, subjects, verified, findings, candidate.templates, words)

    def _describe_attribute(
        self, attribute: IdAttribute, subjects: Sequence[Subject], reader: Reader
    ) -> Layout:
        if attribute.is_nested:
            return self._build(None, subjects, Verified(), [*describe_attribute(attribute, None, subjects)])
        values = {one.values.get(attribute.path): one.session_id for one in subjects}
        holding = [item for item in reader.items if isinstance(item.get(attribute.name), str)]
        paid = [item for item in holding if item[attribute.name] in values]
        words = choose_words(paid or holding, holding if paid else [], {attribute.name})
        templates = ((attribute.name, f"{{{attribute.path}}}"),)
        command = self.to_aws(build_index_command(attribute, self.verifier.description))
        text = render(self._table, attribute.index, templates, words)
        findings = [*describe_attribute(attribute, command, subjects), *describe_words(words, None, [])]
        shape = ShapeFile(text, None, None, None, None, command)
        return self._build(shape, subjects, Verified(), findings, templates, words)

    def _count_other_case(self, best: KeyMatch, subjects: Sequence[Subject], reader: Reader) -> Iterator[int]:
        """Yield how many items the key finds only with values in lower case, then in upper case."""
        lost = [one for one in subjects if one.session_id not in best.items]
        for change in (str.lower, str.upper):
            changed = _change_values(lost, change)
            yield len(evaluate(best.candidate, changed, reader, find_identifying(subjects)).items)

    def _finds_other_case(
        self, subjects: Sequence[Subject], holders: Sequence[Holder], reader: Reader
    ) -> bool:
        for change in (str.lower, str.upper):
            found = search(_change_values(subjects, change), holders, reader)
            if any(one.identifies for one in found):
                return True
        return False

    def _build(
        self,
        shape: ShapeFile | None,
        subjects: Sequence[Subject],
        verified: Verified,
        findings: Sequence[LayoutFinding],
        templates: Sequence[tuple[str, str]] = (),
        words: Words | None = None,
    ) -> Layout:
        findings = list(findings)
        if not subjects and not findings:
            what = f"{_NO_SESSIONS}. The table has not the sync's own layout, and no file can be made"
            findings = [note(Code.NO_SESSIONS, what, verdict=Verdict.FIX)]
        found, seen = len(verified.found), len(verified.found) + len(verified.open)
        if shape and words is not None:
            shape = replace(shape, file=add_comments(shape.file, self._comment(shape, subjects, findings)))
            if shape.index_command is None:
                findings.insert(0, _describe_file(found, len(subjects)))
        key = ", ".join(f"{name} = {text}" for name, text in templates) or None
        return Layout(
            table=self._table,
            sessions=len(subjects),
            with_order=seen,
            found=found if words is None else 0,
            found_with_settings=found,
            fits=all(finding.fits for finding in findings),
            settings=("Shape=shape.toml",) if shape and words is not None else (),
            findings=tuple(findings),
            places=tuple(_describe_place(one, verified, key) for one in subjects),
            read=self.sample.counts,
            shape=shape,
        )

    def _comment(
        self, shape: ShapeFile, subjects: Sequence[Subject], findings: Sequence[LayoutFinding]
    ) -> Iterator[str]:
        yield _INTRODUCTION.format(table=self._table, sessions=quantity(len(subjects), "paid session"))
        if shape.index_command:
            yield "It finds nothing before this index is added:"
            yield shape.index_command
        else:
            parts = [f"The functions' lookup finds {shape.found} of them"]
            parts += [f"{shape.open} open"] if shape.open else []
            parts += [f"{shape.absent} absent"] if shape.absent else []
            parts += [f"{shape.no_key} without the values of the key"] if shape.no_key else []
            yield f"{', '.join(parts)}."
        for finding in findings:
            if finding.code != Code.NEEDS_INDEX:
                yield f"{'Note' if finding.verdict is Verdict.OK else 'Unsure'}: {finding.what}."


_NOT_SCANNED = (
    "these AWS credentials may not call dynamodb:Scan, so the forms of the keys were guessed and no "
    "attribute was searched"
)
_NO_SESSIONS = (
    "Stripe lists no paid session that passes the filter in the last 30 days, so nothing can be compared. "
    "Check the key's account and mode, and SessionFilter"
)


def _describe_file(found: int, sessions: int) -> LayoutFinding:
    what = (
        "The orders are in another layout than the sync's own, which the file describes: it finds "
        f"{found} of {quantity(sessions, 'paid session')}. With it the sync only reads the table"
    )
    command = "nightly-sync layout --shape shape.toml"
    return LayoutFinding(Code.SHAPE, what, command, found, verdict=Verdict.FIX, setting="Shape=shape.toml")


def _to_shape(text: str, verified: Verified) -> ShapeFile:
    return ShapeFile(
        text, len(verified.found), len(verified.open), len(verified.absent), len(verified.no_key)
    )


def _describe_place(one: Subject, verified: Verified, key: str | None) -> SessionPlace:
    name = one.session_id
    codes = {
        Code.OPEN_ORDERS: verified.open,
        Code.NO_ORDER: verified.absent,
        Code.NO_KEY: verified.no_key,
    }
    return SessionPlace(
        session_id=name,
        created=to_iso(one.message.created),
        found=name in verified.found,
        key=None if name in (*verified.absent, *verified.no_key) else key,
        codes=tuple(code for code, names in codes.items() if name in names),
    )


def _find_similar(best: KeyMatch, items: Sequence[Item]) -> list[Item]:
    """Return the items whose keys have the literal parts of the template."""
    literals = [
        (name, [part for part in parse_template(text).parts if isinstance(part, str)])
        for name, text in best.candidate.templates
    ]

    def is_similar(item: Item) -> bool:
        return all(
            isinstance(item.get(name), str) and all(part in item[name] for part in parts)
            for name, parts in literals
        )

    return list(filter(is_similar, items))


def _project(item: Item, holder: Holder) -> Item:
    return {name: value for name, value in item.items() if holder.has(name)}


def _change_values(subjects: Sequence[Subject], change: Callable[[str], str]) -> list[Subject]:
    return [
        replace(one, values={path: change(value) for path, value in one.values.items()}) for one in subjects
    ]


def _is_record(item: Item) -> bool:
    key = item.get("PK")
    return isinstance(key, str) and key.startswith(_RECORDS)


def _is_no_record(item: Item) -> bool:
    return not _is_record(item)


def is_own_layout(layout: Layout) -> bool:
    """Return whether some order is where this system's layout has it, or nothing could be compared."""
    keys = [place.key for place in layout.places if place.key]
    return not layout.sessions or any(key.startswith("USER#") and f" / {ORDER_PREFIX}" in key for key in keys)
