"""Titles of books: ten genres with three voices each, which have no word in common within a genre."""

from collections.abc import Iterator
from itertools import count

import numpy as np

VOICES = ("The {} {}", "{} at {}", "A {} {}")
# One line per voice: six first words | six second words, with _ for a space.
GENRES = {
    "Mystery": (
        "Crooked Silent Missing Poisoned Forged Locked | Alibi Witness Inspector Ledger Detective Verdict",
        "Murder Footsteps Strangers Blackmail Whispers Arson | Blackmoor Thornfield Scotland_Yard Baskerhall Soho "
        "Oxford",
        "Borrowed Stolen Bloodstained Careless Perfect Cold | Fingerprint Clue Culprit Corpse Confession Ransom",
    ),
    "Space": (
        "Orbital Frozen Last Distant Drifting Binary | Colony Starship Cosmonaut Nebula Android Comet",
        "Mutiny Signals Sunrise Exodus Contact Landfall | Europa Titan Andromeda Proxima Callisto Ganymede",
        "Lightspeed Lunar Galactic Martian Robotic Weightless | Voyage Machine Frontier Beacon Garrison Paradox",
    ),
    "Fantasy": (
        "Copper Sleeping Thorned Moonlit Seventh Elven | Lantern Dragon Throne Sorcerer Oracle Crown",
        "Wizards Prophecy Swords Heirs Griffins Runes | Eldermere Avaloria Stormhold Winterkeep Drakenfell Mistvale",
        "Cursed Runic Goblin Magical Feathered Hidden | Spellbook Amulet Apprentice Kingdom Familiar Quest",
    ),
    "Romance": (
        "Reluctant Secret Summer Runaway Accidental Wedding | Bride Kiss Sweetheart Proposal Duchess Admirer",
        "Moonlight Roses Lovers Serenade Dancing Longing | Lakeside Verona Montmartre Capri Willowbrook Biarritz",
        "Tender Whirlwind Forbidden Charming Paper Blushing | Heart Romance Engagement Valentine Embrace Courtship",
    ),
    "Horror": (
        "Screaming Buried Hungry Crawling Faceless Rotting | Cellar Coffin Thing Mirror Doll Attic",
        "Hauntings Vampires Nightfall Possession Ghouls Bones | Hollow_Hill Gravesend Mordrake Blackwater Ashgrove "
        "Salem",
        "Ghostly Demonic Bleeding Nameless Wicked Shrieking | Presence Seance Nightmare Scarecrow Ritual Skull",
    ),
    "Western": (
        "Dusty Outlaw Painted Lonesome Rusty Quickdraw | Saddle Sheriff Canyon Revolver Trail Posse",
        "Showdown Rustlers Gunfire Cattle Horsemen Gold | Deadwood Abilene Tombstone Laredo Dry_Creek Cheyenne",
        "Wild Hanging Dead Prairie Rawhide Wandering | Bounty Ranger Mustang Bandit Homestead Cowhand",
    ),
    "Seafaring": (
        "Stormy Sunken Salted Drowned Northern Emerald | Schooner Lighthouse Captain Anchor Whaler Mermaid",
        "Pirates Cannons Castaways Doldrums Becalmed Mutineers | Tortuga Cape_Horn Zanzibar Trafalgar Macao Nantucket",
        "Tidal Barnacled Briny Windward Coral Seasick | Harbour Compass Frigate Sailor Lagoon Spyglass",
    ),
    "Cooking": (
        "Slow Rustic Buttered Sunday Smoky Spiced | Kitchen Oven Pantry Casserole Skillet Loaf",
        "Suppers Noodles Pastries Breakfast Chefs Feasting | Bologna Marrakesh Provence Oaxaca Kyoto Lyon",
        "Humble Roasted Vegetarian Peppery Seasonal Candied | Table Recipe Stew Cookbook Orchard Broth",
    ),
    "Mountains": (
        "Icy Vertical Highest Thin Jagged White | Summit Ridge Glacier Rope Crevasse Ascent",
        "Climbers Blizzard Stranded Camping Eagles Vertigo | Everest Annapurna Chamonix Denali Eiger Aconcagua",
        "Steep Granite Perilous Highland Breathless Rocky | Pass Peak Bivouac Descent Expedition Cliff",
    ),
    "Music": (
        "Blue Velvet Electric Muted Swinging Brass | Trumpet Quartet Encore Saxophone Jukebox Bassline",
        "Jazz Rehearsals Improvising Drummers Singing Chords | Harlem Carnegie_Hall Vienna Bayreuth Birdland "
        "Abbey_Road",
        "Syncopated Minor Baroque Virtuoso Whistled Choral | Sonata Concerto Violin Nocturne Refrain Rhapsody",
    ),
}


def draw_titles(rng: np.random.Generator, genre: str) -> Iterator[str]:
    """Yield all titles of a genre in random order, then the same again as second volumes, and so on."""
    titles = [
        pattern.format(first, second).replace("_", " ")
        for pattern, words in zip(VOICES, GENRES[genre], strict=True)
        for first in words.split(" | ")[0].split()
        for second in words.split(" | ")[1].split()
    ]
    order = rng.permutation(len(titles))
    for volume in count(1):
        yield from (titles[row] + (f", Vol. {volume}" if volume > 1 else "") for row in order)
