"""What a recipe of params.yaml decides: the value of each key of `model`, `loss` and `train` that says `recipe`."""

from typing import Any

FROM_RECIPE = "recipe"


def follow_recipe(values: dict[str, Any]) -> dict[str, Any]:
    """The content of a params.yaml with the values of the recipe that it names; a value that stands in a section overrules the recipe's.

    What is not as it should be is left as it is: the checks of the sections say what is wrong.

    Raises:
        ValueError: there is no such recipe.
    """
    recipes, name = values.get("recipes"), values.get("recipe")
    if not isinstance(recipes, dict) or not isinstance(name, str):
        return values
    if name not in recipes:
        raise ValueError(f"recipe: expected one of {', '.join(map(str, recipes))}, got {name!r}")
    followed = dict(values)
    for section, decided in recipes[name].items() if isinstance(recipes[name], dict) else ():
        own = values.get(section)
        if isinstance(own, dict) and isinstance(decided, dict):
            followed[section] = {key: decided.get(key, value) if value == FROM_RECIPE else value for key, value in own.items()}
    return followed
