"""Parts of OpenAI's API that are known and not here."""
