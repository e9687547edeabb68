"""A plain program with threads: each line of the input is a question, eight at a time.

echo "what is 6 * 7?" | python script.py
"""

from __future__ import annotations

import operator
import sys
from concurrent.futures import ThreadPoolExecutor

from fairlead import embed
from fairlead.config import Config, PluginConfig
from fairlead.errors import TurnError

# Or the path of your fairlead.toml. The rehearsal answers without a model: from scratch, offline.
CONFIG = Config(plugins=(PluginConfig("providers", "rehearsal"),))
STOCK = {"tea": 12, "coffee": 0}


def calculate(expression: str) -> str:
    """Compute an arithmetic expression.

    :param expression: For example ``6 * 7``.
    """
    left, sign, right = expression.split()
    return str({"*": operator.mul, "+": operator.add, "-": operator.sub}[sign](int(left), int(right)))


def stock(item: str) -> str:
    """Look up how many of an item are in stock. A function of this program, run in one of its threads.

    :param item: Its name.
    """
    return f"{STOCK.get(item, 0)} of {item}"


def main() -> None:
    with embed.start(CONFIG, tools=[calculate, stock]) as app, ThreadPoolExecutor(8) as threads:

        def answer(number: int, question: str) -> str:
            try:
                return app.ask(question, session=f"line {number}", timeout=60.0).text
            except (TurnError, TimeoutError) as error:
                return f"no answer: {error}"

        questions = [line.strip() for line in sys.stdin if line.strip()]
        for text in threads.map(answer, range(len(questions)), questions):
            print(text)


if __name__ == "__main__":
    main()
