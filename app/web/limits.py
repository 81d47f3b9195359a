"""Every limit of the HTTP side: units last in names, each with the reason for its number."""

from __future__ import annotations

# --- requests ------------------------------------------------------------------------------------
# A definition is below 100 KiB, a tracking batch of SDKs below 500 KiB.
BODY_BYTES_MAX = 1024 * 1024
# What the server reads of a request's head; a Last-Event-ID of 1,000 partitions is 12 KiB.
HEADER_BYTES_MAX = 32 * 1024
CONNECTIONS_MAX = 1_000  # open sockets a worker serves; each costs about 50 KiB
# Of one address, sustained: a console with ten open tabs makes about ten.
REQUESTS_PER_SECOND_MAX = 200.0
REQUESTS_BURST_MAX = 400  # of one address, at once
# Forwarded by other workers: they limited their own clients already.
PEER_REQUESTS_PER_SECOND_MAX = 2_000.0
PEER_REQUESTS_BURST_MAX = 4_000
# Addresses whose rate is remembered; the oldest is forgotten (and begins with a full burst).
CLIENT_ADDRESSES_MAX = 4_096

# --- pages of answers ----------------------------------------------------------------------------
SEGMENTS_PAGE_DEFAULT = 200
SEGMENTS_PAGE_MAX = 1_000
SPARK_POINTS_MAX = 120  # of each segment of a list: ten minutes
MEMBERS_PAGE_DEFAULT = 50
MEMBERS_PAGE_MAX = 1_000
# A member key (64 characters of name, a value) and a user id of 256, base64.
CURSOR_CHARS_MAX = 2_048
# Changes a console page is rendered with; the live feed continues from there.
RECENT_CHANGES_MAX = 60
VALUES_SHOWN_MAX = 20  # a for_each segment's largest values on its page

# --- between workers -----------------------------------------------------------------------------
HOPS_MAX = 2  # asked worker → owner → new owner after a rebalance; more is a loop
FORWARD_SECONDS_MAX = 5.0  # an answer is a disk read away; a worker that needs longer is stuck
FORWARD_CONNECT_SECONDS_MAX = 1.0
PEER_ANSWER_BYTES_MAX = 16 * 1024 * 1024
PEER_CONNECTIONS_MAX = 64
# Sizes, statuses and pages of members of one worker: memory or a few disk reads; who needs longer
# is missing.
FANOUT_SECONDS_MAX = 2.0
# Sizes and statuses of all workers are asked for at most this often, however many consoles are
# open.
CLUSTER_AGE_SECONDS = 1.0
# What a page waits for fresher ones when some are known; a worker that lives answers in
# milliseconds.
CLUSTER_PATIENCE_SECONDS = 0.25
# Older ones are waited for: two measures of the history, and more than FANOUT_SECONDS_MAX.
CLUSTER_STALE_SECONDS_MAX = 10.0

# --- live changes --------------------------------------------------------------------------------
# Changes kept in memory for clients that come back: half a minute at 600 changes a second.
FEED_ENTRIES_MAX = 20_000
FEED_BYTES_MAX = 32 * 1024 * 1024
STREAM_CLIENTS_MAX = 200
# The ring moves on while a client reads the broker; who cannot catch up in so many rounds never
# will.
CATCH_UP_ROUNDS_MAX = 3
STREAM_BATCH_MAX = 200  # changes written to a client in one piece
STREAM_HEARTBEAT_SECONDS = 10.0  # proxies close a silent connection after 30 to 60 s
STREAM_SEND_SECONDS_MAX = 15.0  # a socket that takes nothing for so long is closed
STREAM_RETRY_MS = 1_000  # after how long a browser connects again
STREAM_PER_SECOND_MAX = 1_000  # what a client may ask to be limited to
# Older changes read from the broker for one client that comes back; past it the stream says `gap`.
RESUME_RECORDS_MAX = 100_000
HISTORY_READERS_MAX = 4  # clients reading from the broker at once; others wait

# --- rates ---------------------------------------------------------------------------------------
RATE_BUCKET_MS = 5_000  # one point of a sparkline
RATE_BUCKETS_MAX = 720  # an hour of them
# A change emitted so long after its instant was caught up with: it is the past's, not the present's
# traffic.
PAST_MS = 5 * 60_000
FLAP_WITHIN_MS = 10 * 60_000  # a membership that is reversed sooner than this flapped
FLAP_USERS_MAX = 50_000  # memberships whose last change is remembered for that
# Events that are in only up to so long ago are shown in amber: in silence the watermark is a second
# old.
WATERMARK_LATE_MS = 60_000
