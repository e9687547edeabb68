"""No framework: a loop of a few lines on asyncio. What is measured of it is the measuring."""

from __future__ import annotations

from peer_harness import Peer, main


class Bare(Peer):
    """A list of messages for each session."""

    async def open(self) -> None:
        self.sessions: dict[str, list[tuple[str, str]]] = {}

    async def ask(self, session: str, text: str) -> str:
        messages = self.sessions.setdefault(session, [])
        messages.append(("user", text))
        while True:
            await self.plan.think(messages)
            role, said = messages[-1]
            if role == "tool" or not self.plan.tool:
                messages.append(("assistant", said if role == "tool" else "done"))
                return messages[-1][1]
            messages.append(("tool", str(await self.plan.add(1, 2))))


if __name__ == "__main__":
    main(Bare)
