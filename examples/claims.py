"""Claims in everyday words find the facts that a scientist would write about them.

Run it with ``OMP_WAIT_POLICY=PASSIVE python examples/claims.py [FOLDER]``. It takes a minute or two and leaves
everything in FOLDER, or in ``claims``. Claims and facts are made of the phrases below, which say the same in words of
which few are shared. No combination is there twice, so a claim that is held out is new as a whole.
"""

import random
import sys
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # where comparison.py is, however this file is run

from comparison import Pairs, compare, print_table, train_on

# everyday words = a scientist's; each side says it in one of two ways
CAUSES = """
coffee, a cup of coffee every morning = coffee consumption, caffeinated beverages
sugary drinks, too much cola = sweetened beverages, soda consumption
a bad night, too little sleep = acute insomnia, sleep deprivation
smoking, cigarettes = tobacco inhalation, nicotine exposure
walking a lot, going on foot = moderate aerobic exercise, pedestrian commuting
skipping breakfast, no food before noon = omission of the morning meal, delayed first food intake
being lonely, having no friends = social isolation, lack of companionship
wine, a glass of wine with dinner = moderate ethanol intake, wine consumption
looking at your phone, a lot of screen time = prolonged display exposure, smartphone overuse
vitamin pills, vitamins from a bottle = micronutrient supplementation, vitamin tablets
living by a busy street, cars all day long = residential traffic noise, exposure to road vehicles
dirty air, smog = particulate matter pollution, poor air quality
lifting weights, the gym = resistance training, muscular exercise
steak, eating meat = animal protein intake, meat consumption
night shifts, working while others sleep = nocturnal employment, circadian disruption
a dog, owning a pet = canine ownership, companion animals
eating nothing for a day, fasting = intermittent caloric restriction, fasting periods
sunbathing, lying in the sun = ultraviolet radiation, solar exposure
a boss who shouts, stress at work = occupational strain, hostile supervision
painkillers, an aspirin a day = analgesic therapy, acetylsalicylic acid
"""
EFFECTS = """
makes you fat, puts weight on you = raises body mass index, promotes weight gain
ruins your memory, makes you forget things = impairs recall of information, degrades memory function
helps you live longer, adds years to your life = is associated with reduced mortality, extends lifespan
breaks your heart, is bad for the heart = increases cardiac risk, elevates the rate of infarction
keeps you awake, robs you of sleep = delays nocturnal rest, shortens sleep duration
makes you happy, lifts your mood = improves affective wellbeing, alleviates depressive symptoms
gives you headaches, makes your head hurt = provokes migraine episodes, triggers cranial pain
weakens your bones, makes bones break = lowers skeletal mineral density, promotes fractures
is bad for your eyes, makes you need glasses = accelerates visual decline, induces myopia
stops you getting ill, keeps colds away = strengthens immune response, prevents infections
hurts your stomach, gives you a stomach ache = irritates gastric mucosa, causes stomach inflammation
makes you smarter, helps you think = enhances cognitive performance, increases intelligence scores
"""
GROUPS = """
when you are old, for grandparents = in adults above sixty-five, among the elderly
if you are a kid, for children = in paediatric cohorts, among children under ten
when you expect a baby, for mothers-to-be = during pregnancy, in gestating women
for men, if you are a man = in male participants, among men
if you have diabetes, with high blood sugar = under impaired glucose control, in diabetic patients
"""
NUM_PAIRS = 240
Phrase = tuple[list[str], list[str]]


def phrases(text: str) -> list[Phrase]:
    """The everyday and the scientific ways to say each thing."""
    lines = [line.split(" = ") for line in text.strip().split("\n")]
    return [(claim.split(", "), fact.split(", ")) for claim, fact in lines]


def make_pairs(seed: int = 0) -> Pairs:
    """Draw claims and the facts that say the same."""
    rng = random.Random(seed)
    drawn = rng.sample(list(product(*map(phrases, (CAUSES, EFFECTS, GROUPS)))), NUM_PAIRS)
    claims, facts = {}, {}
    for row, meaning in enumerate(drawn):
        claims[f"claim{row:03}"] = " ".join(rng.choice(everyday) for everyday, _ in meaning)
        cause, effect, group = (rng.choice(scientific) for _, scientific in meaning)
        facts[f"fact{row:03}"] = f"{group}, {cause} {effect}"
    return Pairs(claims, facts, {claim: [fact] for claim, fact in zip(claims, facts, strict=True)})


def main(folder: Path) -> None:
    """Train on most of the claims, and look for the facts behind the others."""
    pairs = make_pairs()
    trained = train_on(pairs, folder, "claims")
    query = trained.held_out[0]
    print(f"\n{pairs.queries[query]!r} means {pairs.documents[pairs.answers[query][0]]!r}")
    print_table(f"Facts for {len(trained.held_out)} claims, of {len(pairs.documents)}", compare(pairs, trained))


if __name__ == "__main__":
    main(Path(*sys.argv[1:] or ["claims"]))
