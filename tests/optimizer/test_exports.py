import optimizer


def test_all_names_exist_and_are_sorted() -> None:
    assert optimizer.__all__ == sorted(optimizer.__all__)
    assert all(hasattr(optimizer, name) for name in optimizer.__all__)


def test_all_public_names_are_exported() -> None:
    public = {
        name
        for name, value in vars(optimizer).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("optimizer.")
    }
    assert public == set(optimizer.__all__)
