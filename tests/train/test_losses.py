import math

import pytest
import torch
import torch.nn.functional as F

from arseg.labels import IGNORED
from arseg.train import losses


def sample(classes=5, size=(8, 12), batch=2):
    labels = torch.randint(0, classes, (batch, *size))
    labels[:, :2] = IGNORED
    return torch.randn(batch, classes, *size, requires_grad=True), labels


def test_segmentation_is_cross_entropy_and_takes_log_probabilities():
    logits, labels = sample()
    expected = F.cross_entropy(logits, labels, ignore_index=255)
    torch.testing.assert_close(losses.segmentation_loss(logits, labels), expected)
    torch.testing.assert_close(losses.segmentation_loss(logits.log_softmax(1), labels), expected)
    weight = torch.rand(5)
    expected = F.cross_entropy(logits, labels, weight, ignore_index=255)
    torch.testing.assert_close(losses.segmentation_loss(logits, labels, weight=weight), expected)


def test_small_logits_are_resized_with_the_corners_in_place():
    _, labels = sample()
    small = torch.randn(2, 5, 4, 6)
    large = F.interpolate(small, size=(8, 12), mode="bilinear", align_corners=True)
    assert losses.segmentation_loss(small, labels) == losses.segmentation_loss(large, labels)


@pytest.mark.parametrize("loss", [losses.segmentation_loss, losses.ohem_loss])
def test_no_labelled_pixel_gives_zero_and_zero_gradient(loss):
    logits, labels = sample()
    value = loss(logits, torch.full_like(labels, IGNORED))
    value.backward()
    assert value == 0 and not logits.grad.any()


def test_presence():
    labels = torch.tensor([[[0, 2], [2, 255]], [[255, 255], [255, 1]]])
    assert losses.classes_present(labels, 4).tolist() == [[1, 0, 1, 0], [0, 1, 0, 0]]
    logits = torch.tensor([[20.0, -20, 20, -20], [-20, 20, -20, -20]])
    assert losses.presence_loss(logits, labels) < 1e-6
    assert losses.presence_loss(-logits, labels) > 19


def plain_ohem(logits, labels, threshold, least):
    """Pixel by pixel."""
    found = []
    for n, y, x in (labels != 255).nonzero().tolist():
        found.append(-float(logits[n, :, y, x].log_softmax(0)[labels[n, y, x]]))
    found.sort(reverse=True)
    hard = [value for value in found if value > -math.log(threshold)]
    floor = max(1, int(len(found) * least))
    kept = hard if len(hard) >= floor else found[:floor]
    return sum(kept) / len(kept)


@pytest.mark.parametrize("sure", [0.1, 4, 50])
def test_hard_pixels(sure):
    """Unsure networks: all pixels are hard; sure ones: the floor of a sixteenth decides."""
    logits, labels = sample()
    right = F.one_hot(labels.clamp(max=4), 5).permute(0, 3, 1, 2) * sure
    scores = logits.detach() + right
    found = losses.ohem_loss(scores, labels)
    assert float(found) == pytest.approx(plain_ohem(scores, labels, 0.7, 1 / 16), rel=1e-5, abs=1e-9)


def test_a_few_labelled_pixels_do_not_divide_by_zero():
    logits, labels = sample()
    labels[:] = 255
    labels[0, 3, 3] = 1
    torch.testing.assert_close(losses.ohem_loss(logits, labels), F.cross_entropy(logits, labels, ignore_index=255))


def test_similarity_resizes_the_student_and_leaves_the_teacher():
    student, teacher = (torch.randn(1, 3, *size, requires_grad=True) for size in ((4, 6), (8, 12)))
    value = losses.similarity_loss(student, teacher)
    large = F.interpolate(student, size=(8, 12), mode="bilinear", align_corners=True)
    torch.testing.assert_close(value, ((large - teacher) ** 2).mean())
    value.backward()
    assert teacher.grad is None and student.grad.any()


def test_recipes_are_sums_of_their_parts():
    logits, labels = sample()
    logits = logits.detach()
    camvid = losses.psp_camvid_loss(logits, (torch.zeros(2, 5),), labels)
    assert float(camvid["presence"]) == pytest.approx(math.log(2))
    cityscapes = losses.psp_cityscapes_loss(logits, (logits,), labels)
    assert float(cityscapes["auxiliary"]) == pytest.approx(0.4 * float(cityscapes["segmentation"]))
    bise = losses.bisenet_loss(logits, (logits, -logits), labels)
    assert list(bise) == ["segmentation", "auxiliary8", "auxiliary16"]
    assert bise["segmentation"] == bise["auxiliary8"] != bise["auxiliary16"]
    with pytest.raises(ValueError):
        losses.bisenet_loss(logits, (logits,), labels)
