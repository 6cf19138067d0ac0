"""Every setting, read once from the environment; all wrong values are reported together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import live_subtitles
from pipeline.caption.model import ADAPTERS, PRECISIONS
from pipeline.errors import SettingInvalid
from pipeline.graph import SERVICES
from pipeline.media.decoders.choose import WANTED, Wanted
from pipeline.memory import retention
from pipeline.memory.address import checked
from pipeline.memory.retention import Rule
from pipeline.sample import options as sampling
from pipeline.sample.options import DEFAULTS
from pipeline.timeline import MediaTime
from pipeline.transcribe.options import AUTO, Options
from services import speech
from services.captioner.styles import StyleRule, read_styles
from services.setting_values import (
    adapters,
    captioner_model,
    existing_file,
    existing_folder,
    host_and_port,
    hosts_and_ports,
    is_loopback,
    number,
    one_of,
    origins,
    prefix,
    safety_models,
    served,
    speech_model,
    thinning,
    visual,
    whole,
)
from services.speech import StreamRule

PORTS = {service: 50051 + number for number, service in enumerate(reversed(SERVICES))}
"""The gRPC port of each service where none is set: the gateway has 50051."""
ANSWERERS = ("extractive", "chat", "vlm")
"""What can answer questions."""
KEYFRAMES_PER_MINUTE, KEYFRAME_GAP = (1.0, 600.0), (0.5, 60.0)
"""The least and the most keyframes a minute, and seconds between two, that can be asked for."""


@dataclass(frozen=True)
class Tls:
    """What a face beyond loopback needs: a certificate, its key, and a key that callers must show."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True)
class Settings:
    """What a service process is told; the comment at each value in `docs/settings.md` says more."""

    kafka: str = "127.0.0.1:9092"
    """WATCHWORD_KAFKA: the broker's host:port, several separated by commas."""
    topic_prefix: str = "watchword."
    """WATCHWORD_TOPIC_PREFIX: stands before every topic name, so that installations can share a broker."""
    partitions: int = 6
    """WATCHWORD_PARTITIONS: of topics that have to be created."""
    listen: str = ""
    """WATCHWORD_LISTEN: host:port of the gRPC face; empty means loopback and the service's own port."""
    http: str = ""
    """WATCHWORD_HTTP: host:port of the gateway's HTTP face, with the page, events and questions; empty means none."""
    hls_segment: int = 4
    """WATCHWORD_HLS_SEGMENT: seconds of a segment of captions over HLS: what the packager of the pictures has as its target duration."""
    hls_delay: int = 6
    """WATCHWORD_HLS_DELAY: for how many seconds after its end a segment waits for words that are not final yet."""
    hls_window: int = 600
    """WATCHWORD_HLS_WINDOW: how many seconds of captions a playlist goes back."""
    hls_origins: tuple[str, ...] = ()
    """WATCHWORD_HLS_ORIGINS: whose pages may read captions over HLS, as https://host between commas, or *; none if empty."""
    metrics_port: int = 0
    """WATCHWORD_METRICS_PORT: Prometheus metrics over HTTP on loopback; 0 means none."""
    tls: Tls | None = None
    """WATCHWORD_TLS_CERTIFICATE and WATCHWORD_TLS_KEY: PEM files; needed to listen beyond loopback."""
    api_key: str = ""
    """WATCHWORD_API_KEY: callers show it as "authorization: Bearer KEY"; needed to listen beyond loopback."""
    memory: str = f"127.0.0.1:{PORTS['memory']}"
    """WATCHWORD_MEMORY: host:port of the memory service, which the gateway asks."""
    tls_ca: Path | None = None
    """WATCHWORD_TLS_CA: PEM file of the authority that signed other services' certificates; set to call them over TLS."""
    store: str = "watchword.db"
    """WATCHWORD_STORE: the SQLite file of the scene memory, or a postgresql:// address; ":memory:" keeps nothing."""
    retention: tuple[Rule, ...] = ()
    """WATCHWORD_RETENTION: how long the scene memory keeps what belongs to a stream, by the stream's name."""
    answerer: str = "extractive"
    """WATCHWORD_ANSWERER: which answerer is asked where a question names none: "extractive", "chat" or "vlm"."""
    chat: str = ""
    """WATCHWORD_CHAT: URL#NAME of a chat model behind OpenAI's API, which may put answers into words."""
    vlm: str = ""
    """WATCHWORD_VLM: what may look again to answer: URL#NAME of a model behind OpenAI's API, or a checkpoint's directory or name."""
    recordings: Path | None = None
    """WATCHWORD_RECORDINGS: a folder of recordings, each named after its stream, out of which more pictures are looked at."""
    visual: str = "labels"
    """WATCHWORD_VISUAL: what finds keyframes by what they look like: "labels", the directory of a CLIP or SigLIP checkpoint, or "none"."""
    reranker: str = "auto"
    """WATCHWORD_RERANKER: what reranks before a quote is told: "e5-small", "none", or "auto": that one, where it is installed."""
    answer_key: str = ""
    """WATCHWORD_ANSWER_KEY: the key that these two servers want."""
    voices: Path | None = None
    """WATCHWORD_VOICES: a TOML file that says how answers about streams of a name are to sound."""
    standing: Path | None = None
    """WATCHWORD_STANDING: a TOML file of standing queries and the web addresses that are told when they hold."""
    log: str = ""
    """WATCHWORD_LOG: "debug", "info", "warning" or "error"; empty means info in services and error where a person reads along."""
    model: str = "whisper-tiny.en"
    """WATCHWORD_MODEL: the speech model: a name of the catalog, a directory, or URL#NAME of a server with OpenAI's audio API."""
    model_key: str = ""
    """WATCHWORD_MODEL_KEY: the key that such a server wants."""
    language: str = AUTO
    """WATCHWORD_LANGUAGE: BCP 47 language that is spoken, or "auto"."""
    translate: bool = False
    """WATCHWORD_TRANSLATE: "true" or "false": whether finals in other languages are followed by ones in English."""
    glossary: tuple[str, ...] = ()
    """WATCHWORD_GLOSSARY: terms that may be said, between commas, or the path of a file with one a line."""
    streams: tuple[StreamRule, ...] = ()
    """WATCHWORD_STREAMS: a TOML file that says for streams of a name what differs from the three above."""
    policies: Path | None = None
    """WATCHWORD_POLICIES: the YAML file of what is judged and what follows; it may change while it is used."""
    safety_models: tuple[tuple[str, str], ...] = ()
    """WATCHWORD_SAFETY_MODELS: models that judge by policies, as NAME=DIRECTORY or NAME=URL#MODEL, between commas."""
    audit_key: Path | None = None
    """WATCHWORD_AUDIT_KEY: a file with 64 hexadecimal digits, which signs the audit log and seals what it keeps."""
    decoder: Wanted = "auto"
    """WATCHWORD_DECODER: "auto", "cpu", "cuda", "vaapi", "videotoolbox" or "pynvvideocodec"."""
    decoder_apart: bool | None = None
    """WATCHWORD_DECODER_APART: "true" or "false": whether decoders have processes of their own; by default in a service."""
    second_look: bool = False
    """WATCHWORD_SECOND_LOOK: "true" or "false": whether keyframes that show nothing new are kept from the captioner."""
    keyframes_per_minute: float = DEFAULTS.keyframes_a_minute
    """WATCHWORD_KEYFRAMES_PER_MINUTE: of a scene at most, in the long run, besides its first."""
    keyframe_gap: float = DEFAULTS.maximum_gap.seconds
    """WATCHWORD_KEYFRAME_GAP: the longest time between two keyframes, in seconds."""
    captioner: str = "tags"
    """WATCHWORD_CAPTIONER: "tags", "transformers" or "served"."""
    captioner_model: str = ""
    """WATCHWORD_CAPTIONER_MODEL: a checkpoint directory or a catalog model's name, or URL#NAME of a served model."""
    captioner_key: str = ""
    """WATCHWORD_CAPTIONER_KEY: the key that such a server wants."""
    adapters: tuple[tuple[str, Path], ...] = ()
    """WATCHWORD_ADAPTERS: directories of LoRA adapters for the captioner's model, as NAME=DIRECTORY, between commas."""
    refiner: str = ""
    """WATCHWORD_REFINER: "transformers" or "served": a stronger captioner for the scenes that matter; none if empty."""
    refiner_model: str = ""
    """WATCHWORD_REFINER_MODEL: as WATCHWORD_CAPTIONER_MODEL."""
    refiner_key: str = ""
    """WATCHWORD_REFINER_KEY: as WATCHWORD_CAPTIONER_KEY."""
    refiner_per_minute: int = 4
    """WATCHWORD_REFINER_PER_MINUTE: how many scenes of a stream it describes in a minute of media time."""
    caption_styles: tuple[StyleRule, ...] = ()
    """WATCHWORD_CAPTION_STYLES: a TOML file that says for streams of a name how they are described."""
    caption_tokens: int = 96
    """WATCHWORD_CAPTION_TOKENS: what a model may write for a sentence."""
    caption_precision: str = "auto"
    """WATCHWORD_CAPTION_PRECISION: how a model's weights are held: "auto", "float32", "bfloat16", "int8" or "int4"."""
    caption_picture_tokens: int = 4096
    """WATCHWORD_CAPTION_PICTURE_TOKENS: what the pictures of a scene may take of a model's attention, in tokens."""
    caption_thin: str = "none"
    """WATCHWORD_CAPTION_THIN: which tokens of pictures that hardly change are not shown: "none", or a way and a cosine, as "plain:0.99"."""
    caption_extend: int | None = None
    """WATCHWORD_CAPTION_EXTEND: how often a caption is extended over scenes that look the same; by default 4, and 0 for tags."""
    caption_context: int = 0
    """WATCHWORD_CAPTION_CONTEXT: how many descriptions of the scenes before a model is told."""

    def address(self, service: str) -> str:
        """Where the service listens."""
        return self.listen or f"127.0.0.1:{PORTS[service]}"

    @property
    def sampling(self) -> sampling.Options:
        """How readily frames are chosen."""
        return sampling.Options(keyframes_a_minute=self.keyframes_per_minute, maximum_gap=MediaTime.of(self.keyframe_gap))

    @property
    def live_subtitles(self) -> live_subtitles.Rules:
        """How captions over HLS are cut."""
        return live_subtitles.Rules(
            length=MediaTime.of(self.hls_segment),
            delay=MediaTime.of(self.hls_delay),
            kept=max(self.hls_window // self.hls_segment, 3),
        )

    def options(self, stream_id: str) -> Options:
        """What the captions of a stream are asked to be."""
        return speech.options_of(stream_id, Options(language=self.language, translate=self.translate, glossary=self.glossary), self.streams)


_READ: Mapping[str, Callable[[str], object]] = {
    "kafka": hosts_and_ports,
    "topic_prefix": prefix,
    "partitions": lambda text: whole(text, 1, 10_000),
    "listen": host_and_port,
    "http": host_and_port,
    "hls_segment": lambda text: whole(text, 1, 10),
    "hls_delay": lambda text: whole(text, 1, 60),
    "hls_window": lambda text: whole(text, 30, 21_600),
    "hls_origins": origins,
    "metrics_port": lambda text: whole(text, 0, 65_535),
    "api_key": str,
    "memory": host_and_port,
    "tls_ca": existing_file,
    "store": checked,
    "retention": retention.read,
    "answerer": lambda text: one_of(text, ANSWERERS),
    "chat": served,
    "vlm": lambda text: served(text) if "://" in text else text,
    "recordings": existing_folder,
    "visual": visual,
    "reranker": lambda text: one_of(text, ("auto", "e5-small", "none")),
    "answer_key": str,
    "voices": existing_file,
    "standing": existing_file,
    "log": lambda text: one_of(text, ("debug", "info", "warning", "error")),
    "model": speech_model,
    "model_key": str,
    "language": speech.language,
    "translate": lambda text: one_of(text, ("true", "false")) == "true",
    "glossary": speech.read_glossary,
    "streams": lambda text: speech.read_rules(Path(text)),
    "policies": existing_file,
    "safety_models": safety_models,
    "audit_key": existing_file,
    "decoder": lambda text: one_of(text, WANTED),
    "decoder_apart": lambda text: one_of(text, ("true", "false")) == "true",
    "second_look": lambda text: one_of(text, ("true", "false")) == "true",
    "keyframes_per_minute": lambda text: number(text, *KEYFRAMES_PER_MINUTE),
    "keyframe_gap": lambda text: number(text, *KEYFRAME_GAP),
    "captioner": lambda text: one_of(text, ADAPTERS),
    "captioner_model": captioner_model,
    "captioner_key": str,
    "adapters": adapters,
    "refiner": lambda text: one_of(text, ADAPTERS[1:]),
    "refiner_model": captioner_model,
    "refiner_key": str,
    "refiner_per_minute": lambda text: whole(text, 1, 60),
    "caption_styles": lambda text: read_styles(Path(text)),
    "caption_tokens": lambda text: whole(text, 1, 1024),
    "caption_precision": lambda text: one_of(text, PRECISIONS),
    "caption_picture_tokens": lambda text: whole(text, 16, 65_536),
    "caption_thin": thinning,
    "caption_extend": lambda text: whole(text, 0, 20),
    "caption_context": lambda text: whole(text, 0, 8),
}
"""How the text of each setting is read."""
_SECRET = frozenset({"store", "answer_key"})
"""Settings whose text is not told."""


def read(environ: Mapping[str, str]) -> Settings:
    """The settings in an environment, where an empty value is none; raises `SettingInvalid`, which names every wrong value."""
    problems: list[str] = []
    values: dict[str, object] = {}
    for name, parse in _READ.items():
        key = f"WATCHWORD_{name.upper()}"
        if environ.get(key):
            try:
                values[name] = parse(environ[key])
            except ValueError as error:
                problems.append(f"{key}: {error}" if name in _SECRET else f"{key}={environ[key]!r}: {error}")
    certificate, private_key = environ.get("WATCHWORD_TLS_CERTIFICATE"), environ.get("WATCHWORD_TLS_KEY")
    if certificate and private_key:
        try:
            values["tls"] = Tls(existing_file(certificate), existing_file(private_key))
        except ValueError as error:
            problems.append(f"WATCHWORD_TLS_CERTIFICATE and WATCHWORD_TLS_KEY: {error}")
    elif certificate or private_key:
        problems.append("WATCHWORD_TLS_CERTIFICATE and WATCHWORD_TLS_KEY: both are needed, or neither")
    settings = Settings(**values) if not problems else Settings()  # type: ignore[arg-type]
    problems = problems or _contradictions(settings)
    if problems:
        raise SettingInvalid("wrong settings: " + "; ".join(problems))
    return settings


def _contradictions(settings: Settings) -> list[str]:
    """What is wrong with settings that are right one by one."""
    problems = _exposures(settings)
    if settings.answerer != "extractive" and not getattr(settings, settings.answerer):
        problems.append(f"WATCHWORD_ANSWERER={settings.answerer} needs WATCHWORD_{settings.answerer.upper()}, which names its model")
    problems += _captioner_problems("CAPTIONER", settings.captioner, settings.captioner_model)
    problems += _captioner_problems("REFINER", settings.refiner, settings.refiner_model)
    return problems + _adapter_problems(settings)


def _exposures(settings: Settings) -> list[str]:
    """Faces that others could reach, or a key that others could read, without what protects them."""
    needed = "beyond loopback needs WATCHWORD_TLS_CERTIFICATE, WATCHWORD_TLS_KEY and WATCHWORD_API_KEY"
    faces = (("WATCHWORD_LISTEN", settings.listen), ("WATCHWORD_HTTP", settings.http))
    problems = []
    if settings.tls is None or not settings.api_key:
        problems = [f"{name}={address}: {needed}" for name, address in faces if not is_loopback(address)]
    if not problems and settings.api_key and settings.tls is None and settings.tls_ca is None:
        problems.append(
            "WATCHWORD_API_KEY is sent over TLS only: it needs WATCHWORD_TLS_CERTIFICATE and WATCHWORD_TLS_KEY, or WATCHWORD_TLS_CA"
        )
    return problems


def require_address(text: str) -> str:
    """The text, which is a service's host:port; raises `SettingInvalid` where it is none."""
    try:
        return host_and_port(text)
    except ValueError as error:
        raise SettingInvalid(f"{text!r} is no address of a service: {error}") from None


def _captioner_problems(name: str, adapter: str, model: str) -> list[str]:
    if adapter == "transformers" and (not model or "://" in model):
        return [f"WATCHWORD_{name}=transformers needs WATCHWORD_{name}_MODEL, a checkpoint directory"]
    if adapter == "served" and "://" not in model:
        return [f"WATCHWORD_{name}=served needs WATCHWORD_{name}_MODEL, a server and its model as URL#NAME"]
    return []


def _adapter_problems(settings: Settings) -> list[str]:
    """What is wrong with the adapters, or with the styles that name them."""
    if settings.adapters and settings.captioner != "transformers":
        return [f"WATCHWORD_ADAPTERS is for WATCHWORD_CAPTIONER=transformers, not {settings.captioner}"]
    known = {name for name, _ in settings.adapters}
    wanted = [(rule.match, rule.style.adapter) for rule in settings.caption_styles if rule.style.adapter]
    return [
        f"WATCHWORD_CAPTION_STYLES: the streams {match} want the adapter {name!r}, which WATCHWORD_ADAPTERS does not name"
        for match, name in wanted
        if name not in known and settings.captioner != "served"
    ]
