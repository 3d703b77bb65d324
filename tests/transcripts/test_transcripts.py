"""Every transcript below this folder, each a test of its own."""

from pathlib import Path

import pytest
import runner

HERE = Path(__file__).parent
ALL = [t for path in sorted(HERE.glob("*/*.txt")) for t in runner.read(path)]


@pytest.mark.parametrize("transcript", ALL, ids=lambda t: t.name)
async def test_transcript(transcript, server):
    if reason := transcript.skip.get(server.name):
        pytest.skip(reason)
    problem = None
    try:
        await runner.Play(transcript, server).run()
    except runner.Mismatch as mismatch:
        problem = str(mismatch)
    if problem:
        pytest.fail(problem, pytrace=False)
