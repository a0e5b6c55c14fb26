"""What is Prometheus told of the DICOM edge, of jobs and of what goes out to devices?

Read when it asks. Labels are services, states and reasons of ours: no AE Title, for strangers may
send any, and nothing of a patient.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.assemble import Parts
from gateway.web.devices import Edge
from storage.engineer import Engineer

_WORD = re.compile(r"[a-z_]{1,32}")


class EdgeFigures(Collector):
    """The figures of this process's DICOM edge (where it has one) and of the index."""

    def __init__(self, parts: Parts, edge: Edge | None) -> None:
        self._parts = parts
        self._edge = edge

    def describe(self) -> Iterable[Metric]:
        """Nothing is asked before Prometheus asks."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Every figure, now."""
        if self._edge is not None:
            yield from _of_edge(self._edge)
        yield from _of_index(self._parts)


def _of_edge(edge: Edge) -> Iterable[Metric]:
    """Totals grow when an association ends, with all that it brought."""
    now = edge.counters
    with now.mutex:
        rejected, statuses, services = (
            dict(counts) for counts in (now.rejected, now.statuses, now.services)
        )
    prefix = "teleread_dicom_"
    yield GaugeMetricFamily(f"{prefix}associations_open", "Open associations.", len(edge.live()))
    for name, sentence, total in (
        ("associations_accepted", "Associations accepted.", now.accepted),
        ("associations_aborted", "Associations that ended without a release.", now.aborted),
        ("association_seconds", "Time that associations were open.", now.seconds),
        ("received_bytes", "Bytes received on associations.", now.bytes),
    ):
        yield CounterMetricFamily(prefix + name, sentence, total)
    for name, sentence, label, counts in (
        ("associations_rejected", "Associations rejected, by reason.", "reason", _plain(rejected)),
        ("instances", "Instances by class of the C-STORE status.", "status", statuses),
        ("requests", "Requests other than C-STORE, by service.", "service", services),
    ):
        yield _counted(prefix + name, sentence, label, counts)


def _plain(reasons: Mapping[str, int]) -> Mapping[str, int]:
    """Reasons in a word; whatever else is said (where an error of ours came from) is one."""
    counts: Counter[str] = Counter()
    for reason, many in reasons.items():
        counts[reason if _WORD.fullmatch(reason) else "error"] += many
    return counts


def _of_index(parts: Parts) -> Iterable[Metric]:
    with parts.view() as unit:
        engineer = Engineer(unit.connection)
        refused, outgoing, jobs = (
            engineer.refused_count(),
            engineer.outgoing_counts(),
            engineer.jobs(),
        )
    yield GaugeMetricFamily(
        "teleread_dicom_refused_callers", "Callers on the list of refused ones.", refused
    )
    sent = GaugeMetricFamily(
        "teleread_dicom_outgoing",
        "Reports and commitment answers to devices by state.",
        labels=("kind", "state"),
    )
    for labels, count in sorted(outgoing.items()):
        sent.add_metric(labels, count)
    yield sent
    depth = GaugeMetricFamily(
        "teleread_jobs", "Jobs by kind: waiting, or dead (given up).", labels=("kind", "state")
    )
    for labels, count in sorted(jobs.items()):
        depth.add_metric(labels, count)
    yield depth


def _counted(name: str, sentence: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, sentence, labels=(label,))
    for value, count in sorted(counts.items()):
        family.add_metric((value,), count)
    return family
