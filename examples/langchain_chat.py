"""LangChain asks a codling server: the published README's snippet, with another address.

codling serve runs/app/tuned
python examples/langchain_chat.py http://127.0.0.1:8000/v1
"""

import sys

from langchain_openai import ChatOpenAI


def ask(address: str, question: str, max_tokens: int = 8000, api_key: str = "none") -> str:
    """The answer of the model that is served at `address`."""
    llm = ChatOpenAI(
        model="deepseek-chat",
        openai_api_key=api_key,
        openai_api_base=address,
        temperature=0.85,
        max_tokens=max_tokens,
    )
    return str(llm.invoke(question).text)


if __name__ == "__main__":
    print(ask(sys.argv[1], "Write a piece of quicksort code in C++"))
