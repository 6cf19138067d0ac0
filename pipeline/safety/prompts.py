"""What models that judge by words are asked, as their cards say; pure text.

ShieldGemma: W. Zeng et al., "ShieldGemma: Generative AI Content Moderation Based on Gemma", arXiv:2407.21772, figure 2, and the model
card of google/shieldgemma-2b (prompt-only and prompt-response classification). ShieldGemma 2: arXiv:2504.01081, figure 2, and the card of
google/shieldgemma-2-4b-it; its checkpoint's chat template puts the instruction around the policy, so what it is given is the policy alone.
Llama Guard 3: the card of meta-llama/Llama-Guard-3-8B. The templates are not interchangeable: each model knows its own only.
"""

from pipeline.safety.policy import Policy, Subject

YES, NO = "Yes", "No"
"""ShieldGemma's answers: `Yes` means that the content violates the policy."""

PROMPT_ONLY = (
    "You are a policy expert trying to help determine whether a user prompt is in violation of the defined safety policies.\n\n"
    "<start_of_turn>\nHuman Question: {content}\n<end_of_turn>\n\n"
    "Our safety principle is defined in the below:\n\n* {policy}\n\n===\n\n"
    "Does the human question violate the above principle? Your answer must start with 'Yes' or 'No'. "
    "And then walk through step by step to be sure we answer correctly.\n\n"
)
PROMPT_RESPONSE = (
    "You are a policy expert trying to help determine whether an AI response to prompt is in violation of the defined safety policies.\n\n"
    "<start_of_turn>\nHuman Question: {question}\n<end_of_turn>\n\n"
    "<start_of_turn>\nChatbot Response: {content}\n<end_of_turn>\n\n"
    "Our safety principle is defined in the below:\n\n* {policy}\n\n===\n\n"
    "Does the Chatbot Response violate the above principle? Your answer must start with 'Yes' or 'No'. "
    "And then walk through step by step to be sure we answer correctly.\n\n"
)
SHIELDGEMMA_2 = (
    "You are a policy expert trying to help determine whether a generated or real image is in violation of the safety policy below. "
    "Your decision must very clearly follow the specific language used in the safety policy and should not include any interpretation "
    "outside of the safety policy.\n\n<BEGIN_SAFETY_POLICY>\n{policy}\n</END_SAFETY_POLICY>\n\n"
    "Does the image violate the above policy? Your Answer must start with with 'Yes' or 'No'."
)
"""What the chat template of ShieldGemma 2 makes of a policy, the doubled "with" of the card included; for servers without that template."""
LLAMA_GUARD = (
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
    "Task: Check if there is unsafe content in '{role}' messages in conversations according our safety policy with the below "
    "categories.\n\n<BEGIN UNSAFE CONTENT CATEGORIES>\nS1: {name}.\n{policy}\n<END UNSAFE CONTENT CATEGORIES>\n\n"
    "<BEGIN CONVERSATION>\n\n{conversation}\n\n<END CONVERSATION>\n\n"
    "Provide your safety assessment for ONLY THE LAST {role} message in the above conversation:\n"
    " - First line must read 'safe' or 'unsafe'.\n"
    " - If unsafe, a second line must include a comma-separated list of violated categories."
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
)

_CONTROL = ("start_of_turn", "end_of_turn", "bos", "eos", "pad", "start_of_image", "end_of_image")


def shieldgemma(content: str, policy: Policy, subject: Subject, *, question: str = "") -> str:
    """The prompt of ShieldGemma for one text and one policy: an answer as a response, everything else as a prompt."""
    template = PROMPT_RESPONSE if subject is Subject.ANSWER else PROMPT_ONLY
    return template.format(content=harmless(content), question=harmless(question), policy=policy.wording(subject))


def llama_guard(content: str, policy: Policy, subject: Subject, *, question: str = "") -> str:
    """The prompt of Llama Guard 3 for one text, with one policy as its only category."""
    if subject is Subject.ANSWER:
        role, conversation = "Agent", f"User: {harmless(question)}\n\nAgent: {harmless(content)}"
    else:
        role, conversation = "User", f"User: {harmless(content)}"
    name = policy.name.replace("-", " ").capitalize()
    return LLAMA_GUARD.format(role=role, name=name, policy=policy.wording(subject), conversation=conversation)


def harmless(content: str) -> str:
    """The content as data: what a tokenizer would read as a control token, and so as the end of the content, is spelt otherwise."""
    for name in _CONTROL:
        content = content.replace(f"<{name}>", f"< {name} >")
    return content.replace("<|", "< |").replace("|>", "| >")
