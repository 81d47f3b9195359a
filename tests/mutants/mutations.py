"""The mistakes that are planted: what somebody could get wrong, as text to replace in a file of the
engine or the plan."""

# ruff: noqa: E501 — one mutation a line reads as a table
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """`old` stands exactly once in `file`."""

    name: str
    file: str
    old: str
    new: str


AGGREGATES, SIGNALS, CONDITIONS = "app/engine/aggregates/", "app/engine/signals/", "app/engine/conditions/"
EXISTS, COUNT, DISTINCT, TOTALS = (f"{AGGREGATES}{name}.py" for name in ("exists", "count", "distinct", "total"))
EXTREME, FIRST_LAST, MODE, DECAY = (f"{AGGREGATES}{name}.py" for name in ("extreme", "first_last", "mode", "decay"))
QUANTILE = AGGREGATES + "quantile.py"
PLAIN, MATCHES, PATTERNS, WINDOWS = (f"{SIGNALS}{name}.py" for name in ("plain", "matches", "patterns", "windows"))
COMPILER, ANSWERS, CROSSINGS = (f"{CONDITIONS}{name}.py" for name in ("compiler", "answers", "crossings"))
EVALUATE, STEP, DEDUPE, ENGINE, LATE = (
    f"app/engine/{name}.py" for name in ("evaluate", "step", "dedupe", "engine", "late")
)
BUILD, FEED, FOR_EACH, PREDICATES, CALENDAR = (
    f"app/engine/{name}.py" for name in ("build", "feed", "for_each", "predicates", "calendar")
)
MEMBERS, REASONS = "app/domain/members.py", "app/engine/explain/reasons.py"
DEMAND, PLAN, FIELDS = (f"app/rules/{name}.py" for name in ("demand", "plan", "fields"))

MUTATIONS = (
    # --- windows
    Mutation("any: the window's end is inside", EXISTS, "return (True, end) if now < end else", "return (True, end) if now <= end else"),
    Mutation("any: an event at the window's end wakes nobody", EXISTS, "return before + self._w <= ts", "return before + self._w < ts"),
    Mutation("count: too many leave the window", COUNT, "gone = left(cell.times, now - self._w)", "gone = left(cell.times, now - self._w + 1)"),
    Mutation("count: the timer is that of the latest entry", COUNT, "return True, cell.times[len(cell.times) - k] + self._w", "return True, cell.times[-1] + self._w"),
    Mutation("distinct: the timer is that of the latest value", DISTINCT, "times[n - k] + self._w", "times[-1] + self._w"),
    Mutation("sum: what leaves is not taken out", TOTALS, "pack(unpack(cell.numerator) - scaled_sum(leaving, cell.exponent))", "pack(unpack(cell.numerator))"),
    Mutation("sum: above its limit no entry wakes anybody", TOTALS, "(above_all and rises)", "above_all"),
    Mutation("sum: below its limit no entry wakes anybody", TOTALS, "(under_all and falls)", "under_all"),
    Mutation("sum: below its limit a return may leave unseen", TOTALS, "or bool(cell.negatives)\n            or interval_of(", "or interval_of("),
    Mutation("avg: the sum's limit is taken for the mean's", TOTALS, "(value > thresholds[-1], value < thresholds[0]) if self._mean", "(value >= 0, value <= 0) if self._mean"),
    Mutation("sum: after the exits looked at it is never evaluated again", TOTALS, "if len(times) > self.AHEAD else NEVER", "if len(times) > 1 << 30 else NEVER"),
    Mutation("sum: negative values leave without a trace", TOTALS, "return not self._mean and not cell.negatives and", "return not self._mean and"),
    Mutation("median: between two values it is the lower one", QUANTILE, "return low if low == high else float(Fraction(low) + (Fraction(high) - Fraction(low)) * rest)", "return low"),
    Mutation("median: what leaves the window stays", QUANTILE, "gone = left(cell.times, now - self._w)", "gone = left(cell.times, now - self._w - 1)"),
    Mutation("quantile: the values are taken in the order they came", QUANTILE, "_of_sorted(sorted(cell.values), self._share)", "_of_sorted(cell.values, self._share)"),
    Mutation("quantile: of merged entries only the newest counts", QUANTILE, "cell.weights = evened(cell.times, cell.values, weights, max(1, self._bound * 3 // 4))", "evened(cell.times, cell.values, weights, max(1, self._bound * 3 // 4))"),
    Mutation("quantile: merged neighbours leave their order", QUANTILE, "[min(max(mean, low), high)]", "[mean]"),
    Mutation("quantile: equal values are one entry", QUANTILE, "counts[at] += 1", "counts[at] += 0"),
    Mutation("top: ties go to the first seen", MODE, "key=lambda key: (times[key], number[key])", "key=lambda key: (times[key], -number[key])"),
    Mutation("last: an equal value does not renew the window", FIRST_LAST, "changed = bool(cell.key != value) or cell.ts + self._w <= ts\n        cell.ts, cell.key = ts, value", "changed = bool(cell.key != value) or cell.ts + self._w <= ts\n        cell.ts, cell.key = ts if changed else cell.ts, value"),
    Mutation("range: its end is inside", WINDOWS, "start <= ts < end and add(cell, ts, value)", "start <= ts <= end and add(cell, ts, value)"),
    # --- functions of all entries
    Mutation("first is the last", FIRST_LAST, "if cell.key and not self._latest:", "if cell.key and self._latest:"),
    Mutation("min is the max", EXTREME, "value <= cell.value if self._largest", "value >= cell.value if self._largest"),
    Mutation("decay: rounded to five digits", DECAY, ":.11e}", ":.4e}"),
    Mutation("decay: the rest of the half-life is forgotten", DECAY, "2.0 ** (-r / self.half_life_ms)", "2.0 ** (-0 / self.half_life_ms)"),
    # --- sessions and calendar
    Mutation("session: a gap of session_gap goes on", FEED, ">= self._session_gap_ms:", "> self._session_gap_ms:"),
    Mutation("session: the old session is not forgotten", WINDOWS, "if current else ts\n        if cell.start != start:", "if current else ts\n        if cell.start == -1:"),
    Mutation("session: what completes between two sessions is lost", WINDOWS, "if ts < state.session_start:", "if not state.session_start <= ts < state.session_last + self._gap:"),
    Mutation("session: what it begins with wakes nobody", FEED, "for value_key in signal.at_session_start(state):", "for value_key in ():"),
    Mutation("session: no timer at its end", WINDOWS, "return self._overall.read(cell.cell, now), end\n", "return self._overall.read(cell.cell, now), NEVER\n"),
    Mutation("today: yesterday counts", WINDOWS, "(self._overall.read(cell.cell, now), end) if cell.start == start", "(self._overall.read(cell.cell, now), end) if cell.start <= start"),
    Mutation("calendar: every day has 24 hours", CALENDAR, "return self.midnight(first), self.midnight(after)", "return self.midnight(first), self.midnight(first) + (after - first).days * 86_400_000"),
    Mutation("calendar: the week begins on Sunday", CALENDAR, "timedelta(days=day.weekday())", "timedelta(days=day.isoweekday() % 7)"),
    Mutation("calendar: hours are full hours of UTC", CALENDAR, "quarter = limits.HOUR_MS // 4\n        hour", "quarter = limits.HOUR_MS\n        hour"),
    # --- chains and absences
    Mutation("chain: exactly its duration is too long", PATTERNS, "ts - cell.best[-1] <= self._within", "ts - cell.best[-1] < self._within"),
    Mutation("chain: exactly its duration is too long among tied events", PATTERNS, "ts - start <= self._within", "ts - start < self._within"),
    Mutation("chain: one event takes two steps", PATTERNS, "others = {mask: left for mask, n in cell.tied.items() if (left := n - (mask == own)) > 0}", "others = dict(cell.tied)"),
    Mutation("chain: tied events only in the order of arrival", PATTERNS, "for own in list(waiting):", "for own in [mask] if mask in waiting else []:"),
    Mutation("chain: the first possible start is kept, not the latest", PATTERNS, "if start > best[covered - 1] and self._matched", "if best[covered - 1] < 0 and self._matched"),
    Mutation("chain on: keys are mixed up", PATTERNS, "chain = chains.pop(key, None) or self._chain.new()\n        chains[key] = chain", "key = ''\n        chain = chains.pop(key, None) or self._chain.new()\n        chains[key] = chain"),
    Mutation("absence: completes a millisecond late", PATTERNS, "own = cell.pending[0].ts + self._within if", "own = cell.pending[0].ts + self._within + 1 if"),
    Mutation("absence: B exactly at the end prevents it", MATCHES, "if self._pattern.due(cell.pattern) <= now:", "if self._pattern.due(cell.pattern) < now:"),
    Mutation("absence: A is its own B", PATTERNS, "return number != a.number and (", "return ("),
    Mutation("absence: B at A's instant but before it prevents nothing", PATTERNS, "latest.instant == ts and any(", "latest.instant > ts and any("),
    Mutation("absence on: every B prevents", PATTERNS, "(self._on is None or key == self._key(a))", "True"),
    # --- conditions
    Mutation("since: >= is >", ANSWERS, "return (age >= ms) is (op == \">=\")", "return (age > ms) is (op == \">=\")"),
    Mutation("since: > wakes a millisecond late", ANSWERS, "min(until, at + ms + 1)", "min(until, at + ms + 2)"),
    Mutation("count == k: k + 1 counts too", COMPILER, "above, reach = at_least(signal, floor + 1)", "above, reach = at_least(signal, floor + 2)"),
    Mutation("and: the earliest end of its parts is lost", ANSWERS, "            if truth:\n                if end < until:", "            if truth:\n                if until >= NEVER:"),
    Mutation("between leaves out its upper end", PREDICATES, "ast.Compare(\"<=\", node.operand, node.high)", "ast.Compare(\"<\", node.operand, node.high)"),
    Mutation("between leaves out its lower end", PREDICATES, "ast.Compare(\">=\", node.operand, node.low)", "ast.Compare(\">\", node.operand, node.low)"),
    Mutation("held: a millisecond too long", ANSWERS, "if now - since >= ms else", "if now - since > ms else"),
    Mutation("not in holds for null", PREDICATES, "type(value) is str and (value in texts) is not negated", "(value in texts) is not negated"),
    Mutation("not in a list of two kinds holds for a third", PREDICATES, "return negated and any(same_kind(value, value) for same_kind in kinds)", "return negated"),
    Mutation("values: true is the number 1", MEMBERS, "return \"b1\" if value else \"b0\"", "return f\"n{int(value)}\""),
    Mutation("values: 1.0 is not 1", MEMBERS, "return f\"n{int(value)}\" if value.is_integer() and abs(value) < _INTEGERS else f\"n{value!r}\"", "return f\"n{value!r}\""),
    Mutation("need: one entry less is kept than a comparison tells apart", DEMAND, "else (reach, above)", "else (reach,)"),
    Mutation("need: the smallest threshold decides what is kept", DEMAND, "int(compared.thresholds[-1])", "int(compared.thresholds[0])"),
    Mutation("age: calculated ages are folded into a line", CROSSINGS, "        if self.tree is not None:\n            return self.tree.at(delta)\n", ""),
    # --- the machine
    Mutation("min_dwell: a millisecond too long", EVALUATE, "free = since + unit.dwell_ms", "free = since + unit.dwell_ms + 1"),
    Mutation("min_dwell: no timer at its end", EVALUATE, "arm(state, key, free if truth else max(until, free))", "arm(state, key, max(until, free))"),
    Mutation("cooldown: its end is still too early", EVALUATE, "if now < ready:", "if now <= ready:"),
    Mutation("exit_when does not keep anybody out", BUILD, "return conjunction([when, negation(rest[0])]), rest[0]", "return when, rest[0]"),
    Mutation("group: the last that holds wins", EVALUATE, "for name in unit.group.segments if", "for name in reversed(unit.group.segments) if"),
    Mutation("changes of one step in the order of evaluation", EVALUATE, "        found.transitions.sort(key=lambda transition: transition.order)\n", "        pass\n"),
    Mutation("timers: an earlier one does not move the user's", EVALUATE, "    if due < state.due:\n        state.due = due\n    elif", "    if due < state.due:\n        pass\n    elif"),
    Mutation("timers: due at an event's instant come after it", ENGINE, "        if state.due <= ts:\n            self._stepper.fire(state, ts, changes)", "        if state.due < ts:\n            self._stepper.fire(state, ts - 1, changes)"),
    Mutation("references: dependents are not evaluated", EVALUATE, "and unit.dependents:", "and False:"),
    Mutation("first event: nobody is evaluated", STEP, "set(self._at_first_event) if first else set()", "set()"),
    Mutation("for_each: no value is evaluated before something is fed for it", FOR_EACH, "if all_units or not unit.false_when_unknown", "if all_units"),
    # --- duplicates, for_each, profiles
    Mutation("dedupe: an event at the window's end is a duplicate", DEDUPE, "event.ts - before < self._window_ms", "event.ts - before <= self._window_ms"),
    Mutation("dedupe: ids are forgotten too early", DEDUPE, "if seen[oldest] > edge and", "if seen[oldest] > edge + 1 and"),
    Mutation("for_each: one value too few", FOR_EACH, "if len(values) > self._max_values", "if len(values) >= self._max_values"),
    Mutation("for_each: a touch does not make recent", FOR_EACH, "before, known = values.pop(key, None), False", "before, known = values.get(key), False"),
    Mutation("for_each: the history of what is evicted stays", FOR_EACH, "            signal.forget(state, key)\n", "            pass\n"),
    Mutation("profile: null removes nothing", FEED, "        known[name] = (ts, value)\n", "        if value is not None:\n            known[name] = (ts, value)\n"),
    # --- late events and stored state
    Mutation("late: no retraction", LATE, "for key in before.members.keys() ^ after.members.keys():", "for key in after.members.keys() - before.members.keys():"),
    Mutation("late: seq begins anew", LATE, "fresh.seq, fresh.past, fresh.core = state.seq, past, None", "fresh.past, fresh.core = past, None"),
    Mutation("late: a tied event takes the place before its equals", LATE, "> (event.ts, event.rank):", ">= (event.ts, event.rank):"),
    Mutation("late: an event of the clock's instant is late", LATE, "late = event.ts < state.clock", "late = event.ts <= state.clock"),
    Mutation("late: a lower rank at the clock's instant goes last", ENGINE, "if ts < state.clock or (ts == state.clock and event.rank < state.rank):", "if ts < state.clock:"),
    Mutation("late: timers up to the clock do not fire again", LATE, "if fresh.due <= clock:", "if fresh.due < 0:"),
    Mutation("late: the field of for_each is not kept", FIELDS, "        yield segment.for_each\n", "        pass\n"),
    Mutation("late: the field of a pattern's match is not kept", FIELDS, "*(wanted if step is steps[-1] else ())", "*()"),
    Mutation("state: a cell is not decoded again", PLAIN, "            elif type(cell) is Raw:\n                cell = state.signals[key] = decode(cell)\n", "            elif type(cell) is Raw:\n                cell = state.signals[key] = new()\n"),
    Mutation("plan: two segments share what each stands for", PLAN, "return short_hash((owner if uses_each(node) else \"\") + \"\\n\" + text(node))", "return short_hash(text(node))"),
    Mutation("facts: a false part of an or is told as a reason", REASONS, "if everyone or part.holds(state, at, value_key) is truth:", "if True:"),
)  # fmt: skip
