"""LiteLLM: a chat, a stream, a tool that is called."""

import os

import litellm

URL, MODEL = os.environ.get("AGON_URL", "http://127.0.0.1:8000"), os.environ.get("AGON_MODEL", "nano-6m")
agon = {"model": f"openai/{MODEL}", "api_base": f"{URL}/v1", "api_key": "none", "temperature": 0, "max_tokens": 100}
hello = [{"role": "user", "content": "Hello"}]

answer = litellm.completion(messages=hello, **agon)
print(answer.choices[0].message.content, answer.usage.total_tokens)
print(
    "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(messages=hello, stream=True, **agon))
)

weather = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
called = litellm.completion(messages=hello, tools=[weather], tool_choice="required", **agon)
print(called.choices[0].message.tool_calls[0].function)
