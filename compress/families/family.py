"""What a model family is: a row of data that says where each matrix lies and what reads the stream.

A decoder layer is one attention and one MLP, in this order: x <- x + post(core(norm(x))). A *site* is one
matrix of it. `family_rows.py` holds the rows, `canonical.py` reads and writes sites; nothing else knows how
a family stores its weights. CONTRIBUTING.md says how to add one.
"""

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Axis", "Family", "Inner", "Limit", "Part", "Requirement", "Role", "Site", "Sublayer", "value_of"]

Role = Literal["reader", "gate", "up", "writer", "router"]
Inner = Literal["query", "key", "value", "neuron", "expert"]
Axis = Literal["hidden", "mlp", "kv_groups", "layers", "experts"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which rows of a fused tensor: its `index`-th part, all parts in the order in which they are stacked."""

    index: int
    of: tuple[Inner, ...]
    by_head: bool = False  # the parts of one head stand together, heads follow each other


@dataclass(frozen=True, kw_only=True)
class Site:
    """One matrix. Canonical form: readers, gate, up and router (inner, hidden); writer (hidden, inner)."""

    path: str  # of the module that holds it, from the sublayer's core
    role: Role  # a gate passes through the activation; without an up it is the whole neuron
    inner: Inner  # what its other axis counts
    part: Part | None = None  # None: the tensor is this matrix
    parameter: str = "weight"
    transposed: bool = False  # stored (in, out), as transformers' Conv1D


@dataclass(frozen=True, kw_only=True)
class Sublayer:
    """One residual branch of a decoder layer."""

    core: str  # path of the module that holds the sites, from the layer; "" is the layer itself
    sites: tuple[Site, ...]
    norm: str | None  # what the readers read through; None: they read the stream itself
    post_norm: str | None = None  # what the branch passes through before it is added
    activation: str | None = None  # path of an MLP's function, from the core
    experts: bool = False  # sites but the router hold a stack of experts, (experts, out, in)

    @property
    def is_mlp(self) -> bool:
        """Whether the inner width is the MLP's."""
        return self.activation is not None

    @property
    def name(self) -> str:
        """How reports and errors call it."""
        return self.core or "mlp"

    @property
    def readers(self) -> tuple[Site, ...]:
        """All sites that read the stream."""
        return tuple(site for site in self.sites if site.role != "writer")

    @property
    def writer(self) -> Site:
        """The site that writes to the stream."""
        return next(site for site in self.sites if site.role == "writer")

    def site(self, role: Role) -> Site | None:
        """The site of a role, or None."""
        return next((site for site in self.sites if site.role == role), None)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Why an axis cannot be narrowed, and what works instead, in one sentence.

    It holds for the configs whose `key` has one of `values`; without a key, for all.
    """

    axis: Axis
    reason: str
    key: str | None = None
    values: tuple[Any, ...] = ()

    def applies(self, config: Any) -> bool:
        """Whether this config has it."""
        return self.key is None or value_of(config, self.key) in self.values


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A config key that must have one of these values, or the model is refused."""

    key: str
    values: tuple[Any, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Family:
    """One Hugging Face causal-LM class. Paths are dotted, from the model."""

    name: str  # as people say it
    model_type: str
    architecture: str
    decoder: str
    embedding: str
    layers: str
    final_norm: str
    head: str
    sublayers: tuple[Sublayer, ...]
    position_embedding: str | None = None
    position_offset: int = 0  # row of the first position
    norm_kind: Literal["rms", "layer"] = "rms"
    gain_offset: float = 0.0  # a stored gain w stands for w + offset
    epsilon: str | float = "rms_norm_eps"  # config key, or the value that the class hard-codes
    inner_key: str = "intermediate_size"  # config key of the MLP width
    experts_key: str | None = None  # config key of the number of experts
    embedding_multiplier: str | None = None  # config key; "sqrt_hidden" when it is sqrt(hidden_size)
    residual_multiplier: str | None = None
    logits_divisor: str | None = None
    hidden_size_divisor: str | None = None  # config key that must divide hidden_size, checked by transformers
    derives_head_dim: tuple[str, tuple[Any, ...]] | bool = (
        False  # engines take hidden_size / heads; or (key, values)
    )
    parallel: tuple[str, tuple[Any, ...]] | bool = (
        False  # MLP reads what the attention reads; or (key, values)
    )
    rotates: bool = True  # whether the stream can be rotated; else hidden narrowing keeps coordinates
    rewritten_as: str | None = None  # model type of the row that results are written as once head_dim differs
    vllm_ties_head: bool = False  # vLLM takes the head from the embedding, whatever the config says
    stored_as_named: bool = True  # False: checkpoints on disk may name or stack tensors in another way
    per_layer_keys: tuple[str, ...] = ()  # config keys with one entry for each layer
    limits: tuple[Limit, ...] = ()
    requires: tuple[Requirement, ...] = ()

    def limit(self, axis: Axis, config: Any) -> Limit | None:
        """Why a model of this config cannot be narrowed along an axis; None when it can."""
        if axis == "experts" and self.experts_key is None:
            return Limit(axis=axis, reason=f"{self.name} has no experts to remove; narrow its MLP instead.")
        return next((row for row in self.limits if row.axis == axis and row.applies(config)), None)

    @property
    def attention(self) -> Sublayer:
        """The first branch."""
        return self.sublayers[0]

    @property
    def mlp(self) -> Sublayer:
        """The second branch."""
        return self.sublayers[1]

    def epsilon_of(self, config: Any) -> float:
        """The number that norms add under the root."""
        return float(self.epsilon if isinstance(self.epsilon, float) else value_of(config, self.epsilon))

    def ties_head_dim(self, config: Any) -> bool:
        """Whether some engine works head_dim out as hidden_size / heads, whatever the config says."""
        return _holds(self.derives_head_dim, config)

    def runs_in_parallel(self, config: Any) -> bool:
        """Whether attention and MLP of a layer both read what enters it."""
        return _holds(self.parallel, config)


def _holds(condition: tuple[str, tuple[Any, ...]] | bool, config: Any) -> bool:
    if isinstance(condition, bool):
        return condition
    key, values = condition
    return value_of(config, key) in values


def value_of(config: Any, key: str) -> Any:
    """A value of a config, None when it has none; dots go into dictionaries."""
    first, *rest = key.split(".")
    value = getattr(config, first, None)
    for name in rest:
        value = value.get(name) if isinstance(value, dict) else None
    return value
