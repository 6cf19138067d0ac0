"""ShieldGemma's architectures in miniature, with random weights: real classes, real tokenizers and processors, no sense."""

from pathlib import Path
from typing import Any

WORDS = (
    "You are a policy expert trying to help determine whether a user prompt is in violation of the defined safety policies. "
    "Human Question: Chatbot Response: Our safety principle is defined in the below: === Does the human question violate the above "
    "principle? Your answer must start with 'Yes' or 'No'. And then walk through step by step to be sure we answer correctly. "
    "The image shall not contain content that depicts explicit or graphic sexual acts. <BEGIN_SAFETY_POLICY> </END_SAFETY_POLICY>"
)
SPECIAL = [
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<end_of_image>",
    "<image_soft_token>",
]
IMAGE_TOKENS = 4

# The shape of the template of google/shieldgemma-2-4b-it: the picture, then the instruction around the policy.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<start_of_image>' }}"
    "{% else %}{{ 'You are a policy expert trying to help determine whether a generated or real image is in violation of the safety "
    "policy below.\n\n<BEGIN_SAFETY_POLICY>\n' + part['text'] + '\n</END_SAFETY_POLICY>\n\nDoes the image violate the above policy? "
    "Your Answer must start with with \\'Yes\\' or \\'No\\'.' }}{% endif %}{% endfor %}"
    "{{ '<end_of_turn>\n<start_of_turn>model\n' }}{% endfor %}"
)


def tokenizer() -> Any:
    """Byte-level BPE that knows "Yes" and "No" and Gemma's control tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    base = Tokenizer(models.BPE())
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    base.train_from_iterator([WORDS, "Yes No Yes No"], trainer)
    base.add_tokens([AddedToken("Yes", normalized=False), AddedToken("No", normalized=False)])
    base.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", base.token_to_id("<bos>"))])
    return PreTrainedTokenizerFast(
        tokenizer_object=base,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        extra_special_tokens={"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"},
    )


def save_text(directory: Path, *, words: Any = None) -> None:
    """A checkpoint of the text model's class."""
    import torch
    from transformers import Gemma2Config, Gemma2ForCausalLM

    words = words or tokenizer()
    torch.manual_seed(7)
    config = Gemma2Config(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=8192,
        initializer_range=0.5,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    Gemma2ForCausalLM(config).save_pretrained(directory)
    words.save_pretrained(directory)


def save_image(directory: Path) -> None:
    """A checkpoint of the image model's class, with its processor."""
    import torch
    from transformers import ShieldGemma2Config, ShieldGemma2ForImageClassification, ShieldGemma2Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    words = tokenizer()
    torch.manual_seed(11)
    config = ShieldGemma2Config(
        text_config={
            "model_type": "gemma3_text",
            "vocab_size": len(words),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "initializer_range": 0.5,
            "pad_token_id": words.pad_token_id,
            "bos_token_id": words.bos_token_id,
            "eos_token_id": words.eos_token_id,
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
        },
        mm_tokens_per_image=IMAGE_TOKENS,
        boi_token_index=words.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=words.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=words.convert_tokens_to_ids("<image_soft_token>"),
        yes_token_index=words.convert_tokens_to_ids("Yes"),
        no_token_index=words.convert_tokens_to_ids("No"),
        initializer_range=0.5,
    )
    network = ShieldGemma2ForImageClassification(config)
    # The class starts with a projector of zeros, through which no picture is seen.
    for name, weight in network.named_parameters():
        if "multi_modal_projector" in name:
            torch.nn.init.normal_(weight, std=0.5)
    network.save_pretrained(directory)
    pictures = Gemma3ImageProcessorPil(size={"height": 56, "width": 56})
    ShieldGemma2Processor(pictures, words, chat_template=CHAT_TEMPLATE, image_seq_length=IMAGE_TOKENS).save_pretrained(directory)
