"""LangChain: a chat, a stream, a tool that is called, an answer in a type."""

import os

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

URL, MODEL = os.environ.get("AGON_URL", "http://127.0.0.1:8000"), os.environ.get("AGON_MODEL", "nano-6m")
chat = ChatOpenAI(base_url=f"{URL}/v1", api_key="none", model=MODEL, temperature=0, seed=1, max_tokens=100)

print(chat.invoke("Hello").content)
print("".join(str(chunk.content) for chunk in chat.stream("Hello")))


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"It is sunny in {city}."


(call,) = chat.bind_tools([get_weather], tool_choice="get_weather").invoke("What is the weather in Rome?").tool_calls
print(call["name"], call["args"], "->", get_weather.invoke(call["args"]))


class Person(BaseModel):
    name: str
    age: int


print(chat.with_structured_output(Person, method="json_schema").invoke("Write JSON with name Anna and age 30."))
