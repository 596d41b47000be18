"""A slider over the time of one training: where its neurons are, and how robust it is by then."""

from ipywidgets import Layout, VBox
from matplotlib.figure import Figure

from fpbook.figures.style import ATTACKED, CLEAN, DENSE, GREY, PURIFIED
from fpbook.figures.synthetic import SHARES, neuron
from fpbook.synthetic.film import Film, Frame, Positions, positions
from fpbook.synthetic.measures import robust_correct_with_dense
from fpbook.widgets.controls import card, panels, picture, slider, small_axes
from fpcore.decomposition.purification import live

FOLLOWED = 2  # neurons shown whole
FRAME_COLORS = {"clean": CLEAN, "FGM": PURIFIED}  # of the neurons, by stage


def training_slider(film: Film) -> VBox:
    """A slider over the frames, at the end of clean training first, and three pictures of each."""
    places = positions(film)
    robust = [robust_share(film, frame) for frame in film.frames]
    end = max(i for i, frame in enumerate(film.frames) if frame.stage == "clean")

    def frame_card(i: int) -> str:
        pictures = (
            cloud_panel(film, places, i),
            followed_panel(film, places, i, end),
            course_panel(film, places, robust, i),
        )
        return card(*(picture(figure, words) for figure, words in pictures))

    steps = [f"{frame.step} ({frame.stage})" for frame in film.frames]
    time = slider("training step", steps, end)
    return VBox([time, panels([time], frame_card)], layout=Layout(width="auto"))


def robust_share(film: Film, frame: Frame) -> float:
    """Robust accuracy of a frame's network at the experiment's radius, under the worst attack."""
    radius = film.experiment.radius
    survived = robust_correct_with_dense(frame.net, film.data, film.x, film.y, radius, restarts=1)
    return survived.float().mean().item()


def cloud_panel(film: Film, places: Positions, i: int) -> tuple[Figure, str]:
    """The live neurons at frame i, in the plane of their own feature and the dense direction."""
    frame, feature, dense = film.frames[i], places.feature[i], places.dense[i]
    figure, axis = small_axes()
    look = {"s": 8, "color": FRAME_COLORS[frame.stage], "linewidths": 0, "alpha": 0.5}
    axis.scatter(feature.cpu(), dense.cpu(), **look)
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set(
        title=f"step {frame.step}: live neurons",
        xlabel="on its own feature",
        ylabel="mixture, along $u^\\star$",
        xlim=(-0.03, 1.03),
        ylim=(min(-0.1, places.dense.min().item()), 1.03),
    )
    words = (
        f"The live neurons after step {frame.step}; medians:"
        f" on their own feature {feature.median():.2f},"
        f" along the dense direction {dense.median():.2f}, relative to their lengths."
    )
    return figure, words


def followed_panel(film: Film, places: Positions, i: int, end: int) -> tuple[Figure, str]:
    """The neurons with the longest mixtures at frame `end`, at frame i, relative to their lengths.

    film    the training
    places  of its live neurons
    i       the frame that is drawn
    end     the frame that the neurons are chosen at
    """
    frame = film.frames[i]
    figure, axes = small_axes(FOLLOWED)
    longest = places.dense[end].argsort(descending=True)[:FOLLOWED]
    chosen = live(film.frames[-1].net).nonzero().flatten()[longest].tolist()
    for axis, index in zip(axes, chosen):
        w = frame.net.weight.detach()[index]
        length = w.norm().clamp(min=1e-30).item()
        neuron(axis, w, film.data, FRAME_COLORS[frame.stage], "", unit=length)
        axis.set(xlabel="", ylabel=f"neuron {index}", ylim=(-0.5, 1.2))
    axes[0].set_title("two neurons")
    axes[-1].set_xlabel("feature $j$")
    names = " and ".join(map(str, chosen))
    return figure, f"Neurons {names} in the basis of the features after step {frame.step}."


def course_panel(film: Film, places: Positions, robust: list[float], i: int) -> tuple[Figure, str]:
    """Medians over the live neurons, and robust accuracy, over the steps; a line at frame i.

    film    the training
    places  of its live neurons
    robust  robust accuracy at each frame
    i       the frame that is marked
    """
    figure, axis = small_axes()
    steps = [frame.step for frame in film.frames]
    for label, values, color in (
        ("own feature", places.feature.median(1).values.cpu(), PURIFIED),
        ("dense mixture", places.dense.median(1).values.cpu(), DENSE),
        ("robust accuracy", robust, ATTACKED),
    ):
        axis.plot(steps, values, color=color, label=label)
    axis.axvline(film.experiment.clean_steps, color=GREY, linewidth=0.8)
    axis.axvline(steps[i], color="black", linewidth=2.5, alpha=0.4)
    axis.set(title="clean training | FGM training", xlabel="step", ylim=SHARES)
    figure.legend(loc="outside lower center", ncols=3, fontsize=7.5)
    share = f"{robust[i]:.0%} of test samples survive the worst attack"
    return figure, f"After step {steps[i]}, {share}."
