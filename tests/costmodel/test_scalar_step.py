"""The arrays agree with a second implementation in plain floats, part by part."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presets.drafts import draft_model
from presets.engines import load_engine
from tests.costmodel.drawn import Drawn, workers
from tests.costmodel.scalar_step import step
from tests.costmodel.scalar_worker import Worker

pytestmark = pytest.mark.many_cases


@settings(max_examples=400, deadline=None)
@given(workers(spread=1.25), st.floats(0.0, 3.3))
def test_arrays_agree_with_plain_floats(drawn: Drawn, log_batch: float) -> None:
    batch, profile = 10.0**log_batch, load_engine(drawn.engine).exchange
    assert profile is not None  # every shipped engine says how it leaves a domain
    worker = Worker(
        model=drawn.model,
        precision=drawn.model.precision(drawn.precision),
        hardware=drawn.cluster.hardware(),
        path=drawn.path,
        gpus=drawn.gpus,
        ep=drawn.ep,
        dp=drawn.dp,
        drafts=drawn.drafts,
        draft=draft_model(drawn.model, drawn.draft),
        eplb_slots=drawn.eplb_slots,
        trtllm_kernels=drawn.trtllm_kernels,
        isl=drawn.isl,
        osl=drawn.osl,
        kernels=(drawn.exchange,) if drawn.exchange else profile.kernels,
        fp8_dispatch=profile.fp8_dispatch,
        fp4_combine=profile.fp4_combine,
        two_batches=profile.two_batch_overlap is not None,
    )
    found = drawn.step(np.array([batch]))
    expected = step(worker, batch, drawn.constants)
    parts = {part: float(np.squeeze(seconds)) for part, seconds in found.parts.items()}
    total = sum(expected.values())
    assert parts == pytest.approx(expected, rel=1e-9, abs=1e-9 * total)
    assert float(np.squeeze(found.total)) == pytest.approx(total, rel=1e-9)
