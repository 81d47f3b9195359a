"""Every limit of the HTTP side: units last in names, each with the reason for its number."""

from __future__ import annotations

# --- requests ------------------------------------------------------------------------------------------------
BODY_BYTES_MAX = 1024 * 1024  # a definition is below 100 KiB, a tracking batch of SDKs below 500 KiB
HEADER_BYTES_MAX = 32 * 1024  # what the server reads of a request's head; a Last-Event-ID of 1,000 partitions is 12 KiB
CONNECTIONS_MAX = 1_000  # open sockets a worker serves; each costs about 50 KiB
REQUESTS_PER_SECOND_MAX = 200.0  # of one address, sustained: a console with ten open tabs makes about ten
REQUESTS_BURST_MAX = 400  # of one address, at once
PEER_REQUESTS_PER_SECOND_MAX = 2_000.0  # forwarded by other workers: they limited their own clients already
PEER_REQUESTS_BURST_MAX = 4_000
CLIENT_ADDRESSES_MAX = 4_096  # addresses whose rate is remembered; the oldest is forgotten (and begins with a full burst)

# --- pages of answers ----------------------------------------------------------------------------------------
SEGMENTS_PAGE_DEFAULT = 200
SEGMENTS_PAGE_MAX = 1_000
SPARK_POINTS_MAX = 120  # of each segment of a list: ten minutes
MEMBERS_PAGE_DEFAULT = 50
MEMBERS_PAGE_MAX = 1_000
CURSOR_CHARS_MAX = 2_048  # a member key (64 characters of name, a value) and a user id of 256, base64
RECENT_CHANGES_MAX = 60  # changes a console page is rendered with; the live feed continues from there
VALUES_SHOWN_MAX = 20  # a for_each segment's largest values on its page

# --- between workers -----------------------------------------------------------------------------------------
HOPS_MAX = 2  # asked worker → owner → new owner after a rebalance; more is a loop
FORWARD_SECONDS_MAX = 5.0  # an answer is a disk read away; a worker that needs longer is stuck
FORWARD_CONNECT_SECONDS_MAX = 1.0
PEER_ANSWER_BYTES_MAX = 16 * 1024 * 1024
PEER_CONNECTIONS_MAX = 64
FANOUT_SECONDS_MAX = 2.0  # sizes, statuses and pages of members of one worker: memory or a few disk reads; who needs longer is missing
CLUSTER_AGE_SECONDS = 1.0  # sizes and statuses of all workers are asked for at most this often, however many consoles are open
CLUSTER_PATIENCE_SECONDS = 0.25  # what a page waits for fresher ones when some are known; a worker that lives answers in milliseconds
CLUSTER_STALE_SECONDS_MAX = 10.0  # older ones are waited for: two measures of the history, and more than FANOUT_SECONDS_MAX

# --- live changes --------------------------------------------------------------------------------------------
FEED_ENTRIES_MAX = 20_000  # changes kept in memory for clients that come back: half a minute at 600 changes a second
FEED_BYTES_MAX = 32 * 1024 * 1024
STREAM_CLIENTS_MAX = 200
CATCH_UP_ROUNDS_MAX = 3  # the ring moves on while a client reads the broker; who cannot catch up in so many rounds never will
STREAM_BATCH_MAX = 200  # changes written to a client in one piece
STREAM_HEARTBEAT_SECONDS = 10.0  # proxies close a silent connection after 30 to 60 s
STREAM_SEND_SECONDS_MAX = 15.0  # a socket that takes nothing for so long is closed
STREAM_RETRY_MS = 1_000  # after how long a browser connects again
STREAM_PER_SECOND_MAX = 1_000  # what a client may ask to be limited to
RESUME_RECORDS_MAX = 100_000  # older changes read from the broker for one client that comes back; past it the stream says `gap`
HISTORY_READERS_MAX = 4  # clients reading from the broker at once; others wait

# --- rates ---------------------------------------------------------------------------------------------------
RATE_BUCKET_MS = 5_000  # one point of a sparkline
RATE_BUCKETS_MAX = 720  # an hour of them
PAST_MS = 5 * 60_000  # a change emitted so long after its instant was caught up with: it is the past's, not the present's traffic
FLAP_WITHIN_MS = 10 * 60_000  # a membership that is reversed sooner than this flapped
FLAP_USERS_MAX = 50_000  # memberships whose last change is remembered for that
WATERMARK_LATE_MS = 60_000  # events that are in only up to so long ago are shown in amber: in silence the watermark is a second old
