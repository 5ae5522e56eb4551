import pytest
import torch

from vadistill.training.schedule import cosine, set_rate, stepped, warmed_cosine


def rates_of_torch(schedule, epochs, rate, **options):
    """The learning rate of every epoch under one of torch's own schedules."""
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    made, rates = schedule(optimiser, **options), []
    for _ in range(epochs):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        made.step()
    return rates


@pytest.mark.parametrize("decay", [0.5, 0.1, 0.3, 0.77, 0.0, 1.0])
@pytest.mark.parametrize("every", [1, 3, 10])
def test_steps_are_those_of_torch(every, decay):
    expected = rates_of_torch(torch.optim.lr_scheduler.StepLR, 35, 3e-4, step_size=every, gamma=decay)
    made = [3e-4 * stepped(epoch, every, decay) for epoch in range(35)]
    assert made == pytest.approx(expected)
    assert decay != 0.5 or made == expected, "to the bit where the factor is a power of two"


def test_the_cosine_is_that_of_torch():
    expected = rates_of_torch(torch.optim.lr_scheduler.CosineAnnealingLR, 12, 1.0, T_max=12)
    assert [cosine(epoch, 12) for epoch in range(12)] == pytest.approx(expected)
    assert cosine(0) == 1 and cosine(0.25, 1) == cosine(3, 12) and cosine(1) == pytest.approx(0)


def test_the_warm_up_rises_evenly_to_where_the_cosine_begins():
    assert [warmed_cosine(share) for share in (0, 0.025, 0.05)] == pytest.approx([0, 0.25, 0.5])
    assert warmed_cosine(0.1 - 1e-9) == pytest.approx(warmed_cosine(0.1)) == pytest.approx(1)
    assert warmed_cosine(0.55) == pytest.approx(0.5) and warmed_cosine(1) == pytest.approx(0)


def test_the_rate_of_all_parameters_is_set():
    first, second = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimiser = torch.optim.Adam([{"params": [first], "lr": 1.0}, {"params": [second], "lr": 2.0}])
    set_rate(optimiser, 0.1)
    assert [group["lr"] for group in optimiser.param_groups] == [0.1, 0.1]
