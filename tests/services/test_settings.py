"""Settings: what holds where nothing is said, what is read, and what is refused."""

from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.caption.style import Style
from pipeline.errors import SettingInvalid, reason_name
from pipeline.graph import SERVICES
from pipeline.memory.retention import Rule
from services.captioner.styles import StyleRule
from services.settings import PORTS, Settings, Tls, read
from services.speech import StreamRule

pytestmark = pytest.mark.unit


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "some.pem"
    path.write_text("pem")
    return path


def refusal(**environ: str) -> str:
    with pytest.raises(SettingInvalid) as refused:
        read(environ)
    assert reason_name(refused.value.reason) == "SETTING_INVALID"
    return str(refused.value)


def test_without_any_setting_everything_stays_on_this_machine() -> None:
    settings = read({})
    assert settings == Settings()
    assert settings.kafka == "127.0.0.1:9092"
    assert settings.captioner == "tags"
    assert settings.metrics_port == 0
    addresses = [settings.address(service) for service in SERVICES]
    assert len(set(addresses)) == len(SERVICES), "each service has a port of its own"
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    assert settings.address("gateway") == "127.0.0.1:50051"
    assert settings.memory == settings.address("memory"), "the gateway finds the memory"
    assert set(PORTS) == set(SERVICES)


def test_every_setting_is_read(pem: Path, tmp_path: Path) -> None:
    streams = tmp_path / "streams.toml"
    streams.write_text('[[stream]]\nmatch = "radio-*"\nlanguage = "de"\n')
    styles = tmp_path / "styles.toml"
    styles.write_text('[[stream]]\nmatch = "radio-*"\nlanguage = "de"\n')
    settings = read(
        {
            "WATCHWORD_KAFKA": "one:9092,two:9092",
            "WATCHWORD_TOPIC_PREFIX": "cinema.",
            "WATCHWORD_PARTITIONS": "12",
            "WATCHWORD_LISTEN": "0.0.0.0:7000",
            "WATCHWORD_HTTP": "0.0.0.0:8080",
            "WATCHWORD_HLS_SEGMENT": "2",
            "WATCHWORD_HLS_DELAY": "10",
            "WATCHWORD_HLS_WINDOW": "3600",
            "WATCHWORD_HLS_ORIGINS": "https://Event.example:443, http://127.0.0.1:9000",
            "WATCHWORD_METRICS_PORT": "9100",
            "WATCHWORD_TLS_CERTIFICATE": str(pem),
            "WATCHWORD_TLS_KEY": str(pem),
            "WATCHWORD_API_KEY": "secret",
            "WATCHWORD_MEMORY": "memory:50052",
            "WATCHWORD_TLS_CA": str(pem),
            "WATCHWORD_STORE": ":memory:",
            "WATCHWORD_RETENTION": "radio-*=12h",
            "WATCHWORD_ANSWERER": "chat",
            "WATCHWORD_CHAT": "http://127.0.0.1:8000/v1#writer",
            "WATCHWORD_VLM": "https://models.example/v1#watcher",
            "WATCHWORD_RECORDINGS": str(tmp_path),
            "WATCHWORD_VISUAL": "none",
            "WATCHWORD_RERANKER": "none",
            "WATCHWORD_ANSWER_KEY": "hunter4",
            "WATCHWORD_VOICES": str(streams),
            "WATCHWORD_STANDING": str(streams),
            "WATCHWORD_LOG": "debug",
            "WATCHWORD_MODEL": f"{tmp_path}/",
            "WATCHWORD_MODEL_KEY": "hunter3",
            "WATCHWORD_LANGUAGE": "pt-BR",
            "WATCHWORD_TRANSLATE": "true",
            "WATCHWORD_GLOSSARY": "Watchword,  Harbour  Conference ,,Watchword",
            "WATCHWORD_STREAMS": str(streams),
            "WATCHWORD_POLICIES": str(streams),
            "WATCHWORD_SAFETY_MODELS": f"shieldgemma={tmp_path}, llama-guard=http://127.0.0.1:8000/v1#guard",
            "WATCHWORD_AUDIT_KEY": str(streams),
            "WATCHWORD_DECODER": "vaapi",
            "WATCHWORD_DECODER_APART": "true",
            "WATCHWORD_KEYFRAMES_PER_MINUTE": "12.5",
            "WATCHWORD_KEYFRAME_GAP": "7",
            "WATCHWORD_SECOND_LOOK": "true",
            "WATCHWORD_CAPTIONER": "transformers",
            "WATCHWORD_CAPTIONER_MODEL": str(tmp_path),
            "WATCHWORD_CAPTIONER_KEY": "hunter4",
            "WATCHWORD_ADAPTERS": f"shop={tmp_path}",
            "WATCHWORD_CAPTION_STYLES": str(styles),
            "WATCHWORD_CAPTION_TOKENS": "48",
            "WATCHWORD_REFINER": "served",
            "WATCHWORD_REFINER_MODEL": "http://eye:8000/v1#eye",
            "WATCHWORD_REFINER_KEY": "hunter5",
            "WATCHWORD_REFINER_PER_MINUTE": "9",
            "WATCHWORD_CAPTION_PRECISION": "int8",
            "WATCHWORD_CAPTION_PICTURE_TOKENS": "1024",
            "WATCHWORD_CAPTION_THIN": "plain:0.98",
            "WATCHWORD_CAPTION_EXTEND": "2",
            "WATCHWORD_CAPTION_CONTEXT": "3",
            "SOMETHING_ELSE": "is none of ours",
        }
    )
    assert settings == Settings(
        kafka="one:9092,two:9092",
        topic_prefix="cinema.",
        partitions=12,
        listen="0.0.0.0:7000",
        http="0.0.0.0:8080",
        metrics_port=9100,
        tls=Tls(pem, pem),
        api_key="secret",
        hls_segment=2,
        hls_delay=10,
        hls_window=3600,
        hls_origins=("https://event.example", "http://127.0.0.1:9000"),
        memory="memory:50052",
        tls_ca=pem,
        store=":memory:",
        retention=(Rule("radio-*", 12 * 3600),),
        answerer="chat",
        chat="http://127.0.0.1:8000/v1#writer",
        vlm="https://models.example/v1#watcher",
        recordings=tmp_path,
        visual="none",
        reranker="none",
        answer_key="hunter4",
        voices=streams,
        standing=streams,
        log="debug",
        model=f"{tmp_path}/",
        model_key="hunter3",
        language="pt",
        translate=True,
        glossary=("Watchword", "Harbour Conference"),
        streams=(StreamRule("radio-*", language="de"),),
        policies=streams,
        safety_models=(("shieldgemma", str(tmp_path)), ("llama-guard", "http://127.0.0.1:8000/v1#guard")),
        audit_key=streams,
        decoder="vaapi",
        decoder_apart=True,
        keyframes_per_minute=12.5,
        keyframe_gap=7.0,
        second_look=True,
        captioner="transformers",
        captioner_model=str(tmp_path),
        captioner_key="hunter4",
        adapters=(("shop", tmp_path),),
        caption_styles=(StyleRule("radio-*", Style(language="de")),),
        caption_tokens=48,
        refiner="served",
        refiner_model="http://eye:8000/v1#eye",
        refiner_key="hunter5",
        refiner_per_minute=9,
        caption_precision="int8",
        caption_picture_tokens=1024,
        caption_thin="plain:0.98",
        caption_extend=2,
        caption_context=3,
    )
    defaults = Settings()
    same = [field.name for field in fields(Settings) if getattr(settings, field.name) == getattr(defaults, field.name)]
    assert not same, "this test sets each field to something else than its default"
    assert settings.address("safety") == "0.0.0.0:7000"


def test_a_wrong_address_of_the_store_does_not_tell_its_password() -> None:
    for address in ("postgresql://me:hunter4@here:port/x", "mysql://me:hunter4@here/x"):
        with pytest.raises(SettingInvalid, match="WATCHWORD_STORE: ") as refused:
            read({"WATCHWORD_STORE": address})
        assert "hunter4" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHAT", "https://me:hunter4@models.example/v1"),
        ("CAPTIONER_MODEL", "https://me:hunter4@models.example/v1"),
        ("SAFETY_MODELS", "nosuch=https://me:hunter4@models.example/v1#m"),
    ],
)
def test_a_wrong_address_of_a_model_does_not_tell_its_password(name: str, value: str) -> None:
    with pytest.raises(SettingInvalid, match=r"//models\.example/v1") as refused:
        read({f"WATCHWORD_{name}": value})
    assert "hunter4" not in str(refused.value)


def test_an_empty_value_is_none() -> None:
    names = ["TLS_CERTIFICATE" if field.name == "tls" else field.name.upper() for field in fields(Settings)]
    assert read({f"WATCHWORD_{name}": "" for name in [*names, "TLS_KEY"]}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("KAFKA", "broker", "host:port is needed"),
        ("HLS_SEGMENT", "0", "from 1 to 10"),
        ("HLS_ORIGINS", "https://event.example/page", "no origin"),
        ("RETENTION", "30", "'30' is no NAME=TIME"),
        ("STORE", "mysql://here/x", "mysql:// is not known"),
        ("STORE", "postgresql://me@here:port/x", "postgresql://user:password@host:port/database is needed"),
        ("KAFKA", "one:9092,two", "host:port is needed"),
        ("KAFKA", ":9092", "host:port is needed"),
        ("KAFKA", "one:65536", "a whole number from 0 to 65535 is needed"),
        ("TOPIC_PREFIX", "my topics/", "letters, digits"),
        ("PARTITIONS", "abc", "a whole number from 1 to 10000 is needed"),
        ("PARTITIONS", "0", "a whole number from 1 to 10000 is needed"),
        ("PARTITIONS", "--3", "a whole number from 1 to 10000 is needed"),
        ("PARTITIONS", "\u00b2", "a whole number from 1 to 10000 is needed"),
        ("PARTITIONS", "9" * 5000, "a whole number from 1 to 10000 is needed"),
        ("LISTEN", "50051", "host:port is needed"),
        ("LISTEN", "127.0.0.1:http", "a whole number from 0 to 65535 is needed"),
        ("KEYFRAMES_PER_MINUTE", "0", "a number from 1 to 600 is needed"),
        ("KEYFRAME_GAP", "nan", "a number from 0.5 to 60 is needed"),
        ("METRICS_PORT", "-1", "a whole number from 0 to 65535 is needed"),
        ("MEMORY", "memory", "host:port is needed"),
        ("TLS_CA", "/nowhere/ca.pem", "/nowhere/ca.pem is no file"),
        ("LOG", "loud", "one of debug, info, warning, error is needed"),
        ("MODEL", "no/such", "no/such is no directory"),
        ("LANGUAGE", "Klingon!", "a BCP 47 language"),
        ("TRANSLATE", "yes", "one of true, false is needed"),
        ("GLOSSARY", "x" * 101, "101 characters"),
        ("GLOSSARY", "/nowhere/terms.txt", "/nowhere/terms.txt is no file"),
        ("STREAMS", "/nowhere/streams.toml", "/nowhere/streams.toml is no file"),
        ("POLICIES", "/nowhere/policies.yaml", "/nowhere/policies.yaml is no file"),
        ("AUDIT_KEY", "/nowhere/key", "/nowhere/key is no file"),
        ("SAFETY_MODELS", "poet=x", "with one of shieldgemma, shieldgemma-2, llama-guard as its name"),
        ("SAFETY_MODELS", "shieldgemma=/nowhere", "/nowhere is no directory"),
        ("SAFETY_MODELS", "llama-guard=http://a#b,llama-guard=http://c#d", "each name can be there once"),
        ("CAPTIONER", "poet", "one of tags, transformers, served is needed"),
        ("CAPTIONER", "transformers", "needs WATCHWORD_CAPTIONER_MODEL, a checkpoint directory"),
        ("CAPTIONER", "served", "needs WATCHWORD_CAPTIONER_MODEL, a server and its model as URL#NAME"),
        ("CAPTIONER_MODEL", "http://eye:8000/v1", "named as URL#NAME"),
        ("REFINER", "tags", "one of transformers, served is needed"),
        ("REFINER", "served", "needs WATCHWORD_REFINER_MODEL"),
        ("REFINER_PER_MINUTE", "0", "a whole number from 1 to 60 is needed"),
        ("CAPTION_STYLES", "/nowhere/styles.toml", "/nowhere/styles.toml is no file"),
        ("CAPTION_TOKENS", "0", "a whole number from 1 to 1024 is needed"),
        ("CAPTION_EXTEND", "99", "a whole number from 0 to 20 is needed"),
        ("CAPTION_CONTEXT", "-1", "a whole number from 0 to 8 is needed"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_needed(name: str, value: str, cause: str) -> None:
    told = refusal(**{f"WATCHWORD_{name}": value})
    assert f"WATCHWORD_{name}" in told
    assert cause in told


def test_adapters_belong_to_a_model_in_process_and_styles_name_known_ones(tmp_path: Path) -> None:
    styles = tmp_path / "styles.toml"
    styles.write_text("[[stream]]\nmatch = 'shop-*'\nadapter = 'shop'\n")
    model = {"WATCHWORD_CAPTIONER": "transformers", "WATCHWORD_CAPTIONER_MODEL": str(tmp_path), "WATCHWORD_CAPTION_STYLES": str(styles)}
    with pytest.raises(SettingInvalid, match=r"the streams shop-\* want the adapter 'shop', which WATCHWORD_ADAPTERS does not name"):
        read(model)
    with pytest.raises(SettingInvalid, match="WATCHWORD_ADAPTERS is for WATCHWORD_CAPTIONER=transformers, not tags"):
        read({"WATCHWORD_ADAPTERS": f"shop={tmp_path}"})
    assert read(model | {"WATCHWORD_ADAPTERS": f"shop={tmp_path}"}).caption_styles[0].style.adapter == "shop"


def test_all_wrong_values_are_told_together() -> None:
    told = refusal(
        WATCHWORD_KAFKA="broker",
        WATCHWORD_PARTITIONS="many",
        WATCHWORD_LISTEN="here",
        WATCHWORD_LOG="loud",
        WATCHWORD_TLS_KEY="/nowhere/key.pem",
    )
    for name in ("KAFKA", "PARTITIONS", "LISTEN", "LOG", "TLS_KEY"):
        assert f"WATCHWORD_{name}" in told
    assert "\n" not in told


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.8.8.8:50051", "[::1]:50051", "localhost:50051"])
def test_on_loopback_neither_certificate_nor_key_is_needed(address: str) -> None:
    assert read({"WATCHWORD_LISTEN": address}).listen == address


@pytest.mark.parametrize("address", ["0.0.0.0:50051", "[::]:50051", "192.168.1.5:50051", "gateway:50051", "localhost.example.org:50051"])
@pytest.mark.parametrize("given", [(), ("TLS_CERTIFICATE", "TLS_KEY"), ("API_KEY",)])
def test_beyond_loopback_certificate_and_key_are_needed(address: str, given: tuple[str, ...], pem: Path) -> None:
    environ = {f"WATCHWORD_{name}": str(pem) for name in given}
    told = refusal(WATCHWORD_LISTEN=address, **environ)
    for name in ("LISTEN", "TLS_CERTIFICATE", "TLS_KEY", "API_KEY"):
        assert f"WATCHWORD_{name}" in told


def test_a_key_that_could_only_travel_in_the_open_is_refused(pem: Path) -> None:
    assert "sent over TLS only" in refusal(WATCHWORD_API_KEY="k")
    assert read({"WATCHWORD_API_KEY": "k", "WATCHWORD_TLS_CA": str(pem)}).api_key == "k"
    assert read({"WATCHWORD_API_KEY": "k", "WATCHWORD_TLS_CERTIFICATE": str(pem), "WATCHWORD_TLS_KEY": str(pem)}).api_key == "k"


@pytest.mark.parametrize("name", ["TLS_CERTIFICATE", "TLS_KEY"])
def test_half_a_tls_pair_is_refused(name: str, pem: Path) -> None:
    assert "both are needed, or neither" in refusal(**{f"WATCHWORD_{name}": str(pem)})


def test_a_tls_pair_of_missing_files_is_refused_by_name(pem: Path) -> None:
    told = refusal(WATCHWORD_TLS_CERTIFICATE=str(pem), WATCHWORD_TLS_KEY="/nowhere/key.pem")
    assert "/nowhere/key.pem is no file" in told


def test_a_model_may_be_on_a_server() -> None:
    assert read({"WATCHWORD_MODEL": "https://speech:8000/v1#large"}).model == "https://speech:8000/v1#large"


def test_a_secret_is_not_repeated_in_a_refusal() -> None:
    assert "hunter3" not in refusal(WATCHWORD_MODEL_KEY="hunter3", WATCHWORD_PARTITIONS="many")
    assert "hunter2" not in refusal(WATCHWORD_API_KEY="hunter2", WATCHWORD_PARTITIONS="many")
