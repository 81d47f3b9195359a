"""The stores of one partition and their byte layouts: users (state), timers and members (ordered),
meta, and the changelog's records.

Everything of a partition is in one RocksDB, under keys that begin with one byte naming the table:

    "!" meta · "m" members · "s" sizes · "t" timers · "u" users

so one WriteBatch changes all of it at once. Each table's file owns its layout and draws it.
"""
