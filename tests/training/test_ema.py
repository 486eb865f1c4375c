import torch

from distmtl.balancing.equal import Equal
from distmtl.parallel.world import Solo
from distmtl.training.ema import MovingAverage
from distmtl.training.facts import exchange
from tests.training.problems import Problem, build_step, places, share


def test_the_average_follows_its_equation() -> None:
    layer = torch.nn.Linear(2, 1)
    average = MovingAverage(layer, 0.5)
    expected = layer.weight.detach().clone()
    for step in range(30):
        with torch.no_grad():
            layer.weight += 1.0
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
    torch.testing.assert_close(average.tensors["weight"], expected)


def test_evaluation_sees_the_average_and_training_goes_on_without_it() -> None:
    layer = torch.nn.Linear(2, 1)
    average = MovingAverage(layer, 0.9)
    before = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight += 1.0
    with average.applied():
        torch.testing.assert_close(layer.weight.detach(), before)
    torch.testing.assert_close(layer.weight.detach(), before + 1.0)
    torch.testing.assert_close(average.tensors["weight"], before)


def test_a_step_moves_the_average_after_the_update() -> None:
    problem = Problem(steps=3, ema=0.8)
    step, model = build_step(problem, Equal(), Solo())
    assert step.ema is not None
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    for number in range(3):
        batch = share(problem, number, 0, 1)
        step(batch, exchange([batch], 1, places(), Solo(), stop=False, next_steps=1).facts[0])
        decay = min(0.8, (1 + number) / (10 + number))
        for name, parameter in model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach()
    for name, tensor in step.ema.tensors.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-12, atol=1e-12)
