"""Every metric, named once, with its unit; Prometheus counts them in this process."""

from prometheus_client import Counter, Gauge, Histogram
from watchword.v1.transcript_pb2 import TranscriptStatistics

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
STORE_FAILURES = Counter("watchword_store_failures", "Times that the scene memory could not be used, by what was done then.", ["then"])
MOMENTS_EXPIRED = Counter("watchword_moments_expired", "Moments that left the scene memory because they were too old.")
PACKETS_DAMAGED = Counter("watchword_packets_damaged", "Audio packets that could not be decoded; what is beside them is heard.")
STREAMS_LIVE = Gauge("watchword_streams_live", "Streams that a step is working on.", ["step"])
RECORDS_HELD = Gauge("watchword_records_held", "Records that would be read again after a crash.", ["step"])
STREAMS_SUSPENDED = Counter("watchword_streams_suspended", "Streams let go after a long silence; they may go on.", ["step"])
LAG_SECONDS = Gauge("watchword_lag_seconds", "Age of the chunk that a step took last, from when it was sent.", ["step"])
WATCHERS = Gauge("watchword_watchers", "Clients that watch a stream.")
WATCHERS_DROPPED = Counter("watchword_watchers_dropped", "Clients dropped because they read too slowly.")
SUBTITLE_WORDS = Counter("watchword_subtitle_words", "Words for live subtitles, by when they came: in_time or late.", ["when"])

SCENES_UNDESCRIBED = Counter("watchword_scenes_undescribed", "Scenes that got no caption, by cause: withheld or empty.", ["cause"])
CAPTION_REPLIES = Counter(
    "watchword_caption_replies", "What models wrote of scenes, by outcome: good, mended, asked_again or empty.", ["outcome"]
)
CAPTION_REUSE = Counter(
    "watchword_caption_reuse", "Features of pictures and read instructions, by whether they had to be computed.", ["what", "outcome"]
)
PICTURE_TOKENS = Counter(
    "watchword_caption_picture_tokens", "Tokens of scenes' pictures, by whether a model was shown them: shown or left_out.", ["outcome"]
)
SCENES_ADAPTED = Counter("watchword_scenes_adapted", "Scenes that were described with an adapter, by its name.", ["adapter"])
ADAPTERS_UNKNOWN = Counter("watchword_adapters_unknown", "Descriptions that were refused because their adapter is not there.")
CAPTION_SHRUNK = Counter(
    "watchword_caption_shrunk",
    "Times memory did not suffice to describe scenes, by what was done: split, fewer_tokens or refused.",
    ["what"],
)
SCENE_FIRST_TOKEN_SECONDS = Histogram(
    "watchword_scene_first_token_seconds",
    "From when a scene is to be described to the first token about it.",
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
)
SCENES_EXTENDED = Counter("watchword_scenes_extended", "Scenes that looked like the one before, whose caption was extended instead.")
SCENES_REFINED = Counter("watchword_scenes_refined", "Scenes that a stronger captioner described again.")
KEYFRAME_DETAILS = Counter(
    "watchword_keyframe_details", "Keyframes that a second look gave a level of detail: full, pooled or dropped.", ["level"]
)
KEYFRAME_TOKENS_SAVED = Counter("watchword_keyframe_tokens_saved", "Tokens of pictures that a second look spared the captioner.")
POLICY_RELOADS = Counter("watchword_policy_reloads", "Times a changed policy file was read, by outcome: taken or refused.", ["outcome"])
VERDICTS = Counter("watchword_verdicts", "What the safety filter decided, by what was judged and the action.", ["subject", "action"])
CLASSIFIER_FAILURES = Counter(
    "watchword_classifier_failures", "Judgements that a classifier failed at or was late with.", ["classifier", "cause"]
)
ALERTS = Counter("watchword_alerts", "Alerts of standing queries, by how they are told and what became of them.", ["by", "outcome"])
WORDS_REFUSED = Counter("watchword_words_refused", "Words that a speech model wrote and that cannot have been said.", ["reason"])
CAPTION_LATENCY_SECONDS = Gauge(
    "watchword_caption_latency_seconds",
    "How long after its end a word was told, in media time: kind stable or final, statistic mean or p95.",
    ["stream", "kind", "statistic"],
)
CAPTION_FLICKER = Gauge("watchword_caption_flicker", "Words shown and taken back, for each word of the finals.", ["stream"])
CAPTION_REAL_TIME_FACTOR = Gauge("watchword_caption_real_time_factor", "Seconds of hearing for each second of media.", ["stream"])
CAPTION_WORDS_PER_MINUTE = Gauge("watchword_caption_words_per_minute", "Words of finals in a minute of media.", ["stream"])


def report_captions(stats: TranscriptStatistics) -> None:
    """Export how well a stream is being transcribed."""
    for kind, latency in (("stable", stats.stable_latency), ("final", stats.final_latency)):
        CAPTION_LATENCY_SECONDS.labels(stats.stream_id, kind, "mean").set(latency.mean_s)
        CAPTION_LATENCY_SECONDS.labels(stats.stream_id, kind, "p95").set(latency.p95_s)
    CAPTION_FLICKER.labels(stats.stream_id).set(stats.flicker)
    CAPTION_REAL_TIME_FACTOR.labels(stats.stream_id).set(stats.real_time_factor)
    CAPTION_WORDS_PER_MINUTE.labels(stats.stream_id).set(stats.words_per_minute)


def forget_captions(stream_id: str) -> None:
    """The stream is no longer transcribed here."""
    for gauge in (CAPTION_LATENCY_SECONDS, CAPTION_FLICKER, CAPTION_REAL_TIME_FACTOR, CAPTION_WORDS_PER_MINUTE):
        gauge.remove_by_labels({"stream": stream_id})
