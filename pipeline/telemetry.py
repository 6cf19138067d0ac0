"""Every metric, named once, with its unit; Prometheus counts them in this process."""

from prometheus_client import Counter, Gauge, Histogram

RECORDS_IN = Counter("watchword_records_in", "Records taken from a topic by a step.", ["step"])
RECORDS_OUT = Counter("watchword_records_out", "Messages published by a step.", ["step", "topic"])
RECORDS_DUPLICATE = Counter("watchword_records_duplicate", "Records dropped because they had been taken in before.", ["step"])
RECORDS_DROPPED = Counter(
    "watchword_records_dropped", "Records, or parts of them, left out to keep up with a live source.", ["step", "policy"]
)
ERRORS = Counter("watchword_errors", "Failures reported on the errors topic.", ["step", "reason"])
ITEM_SECONDS = Histogram(
    "watchword_item_seconds",
    "Time a stage takes for one item.",
    ["step"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
STREAMS_LIVE = Gauge("watchword_streams_live", "Streams that a step is working on.", ["step"])
RECORDS_HELD = Gauge("watchword_records_held", "Records that would be read again after a crash.", ["step"])
STREAMS_SUSPENDED = Counter("watchword_streams_suspended", "Streams let go after a long silence; they may go on.", ["step"])
LAG_SECONDS = Gauge("watchword_lag_seconds", "Age of the chunk that a step took last, from when it was sent.", ["step"])
WATCHERS = Gauge("watchword_watchers", "Clients that watch a stream.")
WATCHERS_DROPPED = Counter("watchword_watchers_dropped", "Clients dropped because they read too slowly.")
SCENES_UNDESCRIBED = Counter("watchword_scenes_undescribed", "Scenes that got no caption, by cause: withheld or empty.", ["cause"])
WORDS_REFUSED = Counter("watchword_words_refused", "Words that a speech model wrote and that cannot have been said.", ["reason"])
