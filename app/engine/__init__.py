"""The engine: one user's state and an event, or an instant, in; changes of membership out. Pure.

1. A plan is: *signals* (aggregates over a selector in a window, shared by text), *units* (a
segment, a `held(…)`, a group) in topological order, and an index from (stream, field == text) to
signals (`build`, `routing`).
2. A user is one flat struct: cells by signal, memberships, since-whens, last exits, one due instant
a unit, recent ids, profile, values of each `for_each` (`state`).
3. Every condition is a function (state, now, value) → (truth, until): it holds until `until` if
nothing comes; early is allowed, late never (`conditions`).
4. `until` composes: a conjunction that is false lasts as long as any false part; a comparison of
values that move with time is solved for its crossing.
5. An event: fire what is due before it, instant by instant; then session, profile, signals; each
signal that was fed says whether an answer may have changed (`step`, `feed`).
6. Units whose answer may have changed are evaluated in order; one that changes adds its dependents;
each is armed at its `until` (`evaluate`).
7. Time: the user's next instant is the least of all; firing is the same evaluation with no event.
8. A transition becomes a change with a sequence number, a cause, and the facts of the rule that
decided (`explain`).
9. A late event rolls back to a snapshot, replays in silence, and emits the difference in
memberships (`late`).
10. New definitions: drop the unknown, evaluate everything, emit the difference (`migrate`).
"""
