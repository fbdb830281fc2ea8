import tomllib

from recsys.actions.about import examine_machine, print_config
from recsys.config import Config


def test_every_key_of_the_configuration_is_listed_with_its_meaning():
    reference = print_config()
    names = {key.name for key in reference.keys}
    assert {f"training.{name}" for name in Config.model_fields["training"].annotation.model_fields} <= names
    assert all(key.meaning for key in reference.keys)
    assert next(key.name for key in reference.keys if key.required) == "data.events"
    assert tomllib.loads(*reference.lines())["data"]["events"]


def test_a_healthy_machine_is_told_to_try_the_demo(monkeypatch):
    examined = examine_machine()
    assert (examined.healthy, examined.exit_code) == (True, 0)
    assert examined.next.endswith("demo")
    monkeypatch.setattr("recsys.actions.doctor.LIBRARIES", ("no_such_library",))
    examined = examine_machine()
    assert (examined.healthy, examined.exit_code, examined.next) == (False, 2, None)
    assert examined.libraries == {"no_such_library": None}
