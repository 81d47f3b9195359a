"""The mistakes that are planted: what somebody could get wrong, as text to replace in a file of the engine or the plan."""

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
EXISTS, COUNT, DISTINCT, TOTALS = AGGREGATES + "exists.py", AGGREGATES + "count.py", AGGREGATES + "distinct.py", AGGREGATES + "total.py"
EXTREME, FIRST_LAST, MODE, DECAY = AGGREGATES + "extreme.py", AGGREGATES + "first_last.py", AGGREGATES + "mode.py", AGGREGATES + "decay.py"
SIGNAL, PATTERNS, WINDOWS = SIGNALS + "signal.py", SIGNALS + "patterns.py", SIGNALS + "windows.py"
COMPILER, ANSWERS, CROSSINGS = CONDITIONS + "compiler.py", CONDITIONS + "answers.py", CONDITIONS + "crossings.py"
EVALUATE, STEP, DEDUPE, ENGINE, LATE = (f"app/engine/{name}.py" for name in ("evaluate", "step", "dedupe", "engine", "late"))
BUILD, FEED, FOR_EACH, PREDICATES, CALENDAR = (f"app/engine/{name}.py" for name in ("build", "feed", "for_each", "predicates", "calendar"))
MEMBERS, FACTS, REASONS = "app/domain/members.py", "app/engine/explain/facts.py", "app/engine/explain/reasons.py"
DEMAND, PLAN, FIELDS = "app/rules/demand.py", "app/rules/plan.py", "app/rules/fields.py"

MUTATIONS = (
    # --- windows
    Mutation("any: the window's end is inside", SLIDING, "return (True, end) if now < end else", "return (True, end) if now <= end else"),
    Mutation("any: an event at the window's end is not asked", SLIDING, "return bool(before + self._w <= ts)", "return bool(before + self._w < ts)"),
    Mutation("count: too many leave the window", SLIDING, "gone = bisect_right(cell[0], now - self._w)\n        del cell[0][:gone]\n        if cell[1] is not None:\n            del cell[1][:gone]\n            if all", "gone = bisect_right(cell[0], now - self._w + 1)\n        del cell[0][:gone]\n        if cell[1] is not None:\n            del cell[1][:gone]\n            if all"),
    Mutation("count: the timer is that of the latest entry", SLIDING, "return True, cell[0][len(cell[0]) - k] + self._w", "return True, cell[0][-1] + self._w"),
    Mutation("distinct: the timer is that of the latest value", SLIDING, "times[n - k] + self._w", "times[-1] + self._w"),
    Mutation("sum: what leaves is not taken out", TOTALS, "pack(unpack(cell[3]) - scaled_sum(leaving, cell[4]))", "pack(unpack(cell[3]))"),
    Mutation("sum: above its limit no entry is asked about", TOTALS, "(above_all and rises)", "above_all"),
    Mutation("sum: below its limit no entry is asked about", TOTALS, "(under_all and falls)", "under_all"),
    Mutation("sum: below its limit a return may leave unseen", TOTALS, "return self._mean or bool(cell[5]) or place(", "return place("),
    Mutation("avg: the sum's limit is taken for the mean's", TOTALS, "(value > thresholds[-1], value < thresholds[0]) if self._mean", "(value >= 0, value <= 0) if self._mean"),
    Mutation("sum: after the exits looked at it is never asked again", TOTALS, "if len(times) > self.AHEAD else NEVER", "if len(times) > 1 << 30 else NEVER"),
    Mutation("sum: negative values leave without a trace", TOTALS, "return not self._mean and not cell[5] and", "return not self._mean and"),
    Mutation("top: ties go to the first seen", SLIDING, "key=lambda key: (times[key], place[key])", "key=lambda key: (times[key], -place[key])"),
    Mutation("last: an equal value does not renew the window", SLIDING, "changed = not cell or cell[1] != value or cell[0] + self._w <= ts\n        cell[:] = [ts, value]", "changed = not cell or cell[1] != value or cell[0] + self._w <= ts\n        cell[:] = [cell[0] if not changed else ts, value]"),
    Mutation("range: its end is inside", WINDOWS, "self._start <= ts < self._end", "self._start <= ts <= self._end"),
    # --- functions of all entries
    Mutation("first is the last", ACCUMULATORS, "if cell and not self._latest:\n            return False\n        changed", "if cell and self._latest:\n            return False\n        changed"),
    Mutation("min is the max", ACCUMULATORS, "value <= cell[0] if self._largest", "value >= cell[0] if self._largest"),
    Mutation("decay: rounded to five digits", ACCUMULATORS, ":.11e}", ":.4e}"),
    Mutation("decay: the rest of the half-life is forgotten", ACCUMULATORS, "2.0 ** (-r / self.half_life_ms)", "2.0 ** (-0 / self.half_life_ms)"),
    # --- sessions and calendar
    Mutation("session: a gap of session_gap goes on", FEEDING, ">= self._session_gap_ms:", "> self._session_gap_ms:"),
    Mutation("session: the old session is not forgotten", WINDOWS, "if current else ts\n        if cell[0] != start:", "if current else ts\n        if cell[0] == -1:"),
    Mutation("session: what completes between two sessions is lost", WINDOWS, "if ts < state.session_start:", "if not state.session_start <= ts < state.session_last + self._gap:"),
    Mutation("session: what it begins with is not asked about", FEEDING, "for place in signal.readers.places if each != TEMPLATE else ():", "for place in ():"),
    Mutation("session: no timer at its end", WINDOWS, "return self.keep.read(cell[1], now), end\n\n    def approximate", "return self.keep.read(cell[1], now), NEVER\n\n    def approximate"),
    Mutation("today: yesterday counts", WINDOWS, "(self.keep.read(cell[1], now), end) if cell[0] == start", "(self.keep.read(cell[1], now), end) if cell[0] <= start"),
    Mutation("calendar: every day has 24 hours", CALENDAR, "return self.midnight(first), self.midnight(after)", "return self.midnight(first), self.midnight(first) + (after - first).days * 86_400_000"),
    Mutation("calendar: the week begins on Sunday", CALENDAR, "timedelta(days=day.weekday())", "timedelta(days=day.isoweekday() % 7)"),
    Mutation("calendar: hours are full hours of UTC", CALENDAR, "quarter = limits.HOUR_MS // 4\n        hour", "quarter = limits.HOUR_MS\n        hour"),
    # --- chains and absences
    Mutation("chain: exactly its duration is too long", SOURCES, "ts - chain[0][-1] <= self._within", "ts - chain[0][-1] < self._within"),
    Mutation("chain: exactly its duration is too long among tied events", SOURCES, "ts - start <= self._within", "ts - start < self._within"),
    Mutation("chain: one event takes two steps", SOURCES, "others = {m: n - (m == own) for m, n in tied.items() if n - (m == own) > 0}", "others = dict(tied)"),
    Mutation("chain: tied events only in the order of arrival", SOURCES, "for own in list(waiting):", "for own in [mask] if mask in waiting else []:"),
    Mutation("chain: the first possible start is kept, not the latest", SOURCES, "if start > best[covered - 1] and self._matched", "if best[covered - 1] < 0 and self._matched"),
    Mutation("chain on: keys are mixed up", SOURCES, "chain = chains.pop(key, None) or self._chain()\n        chains[key] = chain", "key = ''\n        chain = chains.pop(key, None) or self._chain()\n        chains[key] = chain"),
    Mutation("absence: completes a millisecond late", SOURCES, "own = cell[2][0][0] + self._within if", "own = cell[2][0][0] + self._within + 1 if"),
    Mutation("absence: B exactly at the end prevents it", SIGNALS, "if self._source.due(cell[0]) <= now:", "if self._source.due(cell[0]) < now:"),
    Mutation("absence: A is its own B", SOURCES, "return number != a[0] and (", "return ("),
    Mutation("absence: B at A's instant but before it prevents nothing", SOURCES, "if not (latest[0] == ts and any(", "if not (latest[0] > ts and any("),
    Mutation("absence on: every B prevents", SOURCES, "(self._on is None or key == self._key(a))", "True"),
    # --- conditions
    Mutation("since: >= is >", ANSWERS, "return (age >= ms) is (op == \">=\")", "return (age > ms) is (op == \">=\")"),
    Mutation("since: > wakes a millisecond late", ANSWERS, "min(until, at + ms + 1)", "min(until, at + ms + 2)"),
    Mutation("count == k: k + 1 counts too", CONDITIONS, "above, reach = at_least(signal, floor + 1)", "above, reach = at_least(signal, floor + 2)"),
    Mutation("and: the earliest end of its parts is lost", ANSWERS, "            if truth:\n                if end < until:", "            if truth:\n                if until >= NEVER:"),
    Mutation("between leaves out its upper end", CONDITIONS, "ast.Compare(\"<=\", operand, high)", "ast.Compare(\"<\", operand, high)"),
    Mutation("held: a millisecond too long", ANSWERS, "if now - since >= ms else", "if now - since > ms else"),
    Mutation("filter: between leaves out its lower end", FILTERS, "ast.Compare(\">=\", operand, low)", "ast.Compare(\">\", operand, low)"),
    Mutation("filter: not in holds for null", FILTERS, "return type(value) is str and (value in texts) is not negated", "return (value in texts) is not negated"),
    Mutation("values: true is the number 1", VALUES, "return \"b1\" if value else \"b0\"", "return f\"n{int(value)}\""),
    Mutation("need: one entry less is kept than a comparison tells apart", NEEDS, "else (reach, above)", "else (reach,)"),
    Mutation("age: calculated ages are folded into a line", CONTINUOUS, "        if self.tree is not None:\n            return self.tree.at(delta)\n", ""),
    # --- the machine
    Mutation("min_dwell: a millisecond too long", JUDGE, "free = since + unit.dwell_ms", "free = since + unit.dwell_ms + 1"),
    Mutation("min_dwell: no timer at its end", JUDGE, "_arm(state, key, max(until, free) if not truth else free)", "_arm(state, key, max(until, free))"),
    Mutation("cooldown: its end is still too early", JUDGE, "if not truth or now < ready:", "if not truth or now <= ready:"),
    Mutation("exit_when does not keep anybody out", JUDGE, "if truth and not out:", "if truth:"),
    Mutation("group: the last that holds wins", JUDGE, "for name in unit.group.segments if", "for name in reversed(unit.group.segments) if"),
    Mutation("changes of one step in the order of judging", JUDGE, "    if len(flips) > 1:\n        flips.sort(key=lambda flip: flip.order)\n    return flips", "    return flips"),
    Mutation("timers: an earlier one does not move the user's", JUDGE, "    if due < state.due:\n        state.due = due\n    elif", "    if due < state.due:\n        pass\n    elif"),
    Mutation("timers: due at an event's instant come after it", ENGINE, "        if state.due <= ts:\n            self.fire_into(state, ts, changes)\n        self.step", "        if state.due < ts:\n            self.fire_into(state, ts - 1, changes)\n        self.step"),
    Mutation("references: dependents are not asked", JUDGE, "and unit.dependents:", "and False:"),
    Mutation("first event: nobody is asked", ENGINE, "set(self._newborn) if born else set()", "set()"),
    # --- duplicates, for_each, profiles
    Mutation("dedupe: an event at the window's end is a duplicate", ENGINE, "event.ts - before < self.options.dedupe_window_ms", "event.ts - before <= self.options.dedupe_window_ms"),
    Mutation("dedupe: ids are forgotten too early", ENGINE, "if seen[oldest] > edge and", "if seen[oldest] > edge + 1 and"),
    Mutation("for_each: one value too few", FEEDING, "if len(values) > self._max_values", "if len(values) >= self._max_values"),
    Mutation("for_each: a touch does not make recent", FEEDING, "before, known = values.pop(key, None), False", "before, known = values.get(key), False"),
    Mutation("for_each: the history of what is pushed out stays", FEEDING, "state.signals.get(signal.key, {}).pop(key, None)", "state.signals.get(signal.key, {})"),
    Mutation("profile: null removes nothing", FEEDING, "        known[name] = (ts, value)\n", "        if value is not None:\n            known[name] = (ts, value)\n"),
    # --- late events and stored state
    Mutation("late: no retraction", ENGINE, "for key in before.members.keys() ^ after.members.keys():", "for key in after.members.keys() - before.members.keys():"),
    Mutation("late: seq begins anew", PAST, "fresh.seq, fresh.past, fresh.core = state.seq, past, None", "fresh.past, fresh.core = past, None"),
    Mutation("late: a tied event takes the place before its equals", PAST, "> (event.ts, event.rank):", ">= (event.ts, event.rank):"),
    Mutation("late: an event of the clock's instant is late", PAST, "late = event.ts < state.clock", "late = event.ts <= state.clock"),
    Mutation("late: a lower rank at the clock's instant goes last", ENGINE, "if ts < state.clock or (ts == state.clock and event.rank < state.rank):", "if ts < state.clock:"),
    Mutation("late: timers up to the clock do not fire again", PAST, "if fresh.due <= clock:", "if fresh.due < 0:"),
    Mutation("late: the field of for_each is not kept", PLAN, "_note(found, segment.for_each[0], segment.for_each[1])", "pass"),
    Mutation("plan: two segments share what each stands for", PLAN, "return short_hash((owner if uses_each(node) else \"\") + \"\\n\" + text(node))", "return short_hash(text(node))"),
    Mutation("facts: a false part of an or is told as a reason", REASONS, "if everyone or part.holds(state, at, each) is truth:", "if True:"),
)  # fmt: skip
