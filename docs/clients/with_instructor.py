"""instructor: an answer in a type, by a tool and by JSON."""

import os

import instructor
from openai import OpenAI
from pydantic import BaseModel

URL, MODEL = os.environ.get("AGON_URL", "http://127.0.0.1:8000"), os.environ.get("AGON_MODEL", "nano-6m")
client = OpenAI(base_url=f"{URL}/v1", api_key="none")


class Person(BaseModel):
    name: str


for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
    print(
        instructor.from_openai(client, mode=mode).chat.completions.create(
            model=MODEL,
            response_model=Person,
            max_tokens=100,
            seed=1,
            messages=[{"role": "user", "content": "Write JSON with name Anna."}],
        )
    )
