"""The pure engine: step(state, event or due time, plan) → changes. The clock is an argument; nothing here does I/O."""
