"""Word material of the fact generator: syllables, names and closed value lists.

Every list is cut in two: each fifth entry is reserved for the ``held_out`` split, the others
belong to ``train``. A syllable that is reserved in one flavour is reserved in all of them.
"""

from __future__ import annotations

__all__ = ["FLAVOURS", "LISTS", "RESERVED_SYLLABLES", "Flavour", "pick_list"]

from dataclasses import dataclass


@dataclass(frozen=True)
class Flavour:
    """The syllables of one made-up language.

    Attributes:
        body: syllables for the beginning and the middle of a word.
        town: endings of place names.
        family: endings of family names.
    """

    body: tuple[str, ...]
    town: tuple[str, ...]
    family: tuple[str, ...]


_RAW: tuple[tuple[str, str, str], ...] = (
    (  # romance
        "bel mon ral cor ta lu ve sa ri do ma pal fer gra ti no vi lan mar tes ro ca sil bra",
        "mora lena tova rano vella dosa mira zona cetta lino",
        "ini etti ado ero oni ares ella osa anti uzzi",
    ),
    (  # nordic
        "hal tor sten bjor ul sig fre lin gun os dag ing ras nor vik el har sol grim bro",
        "vik borg heim fjord havn sund lund ness foss by",
        "sen dal berg strom gren quist holt mark lund stad",
    ),
    (  # slavic
        "kra bo mil vla dra sto ja pet zor lub go ne ra va mi che dob ste ko pri zel bor",
        "grad ovo itsa nice pol yev ava sk insk ovka",
        "ov ich enko sky ova ik chuk nev arin ek",
    ),
    (  # japanese-like
        "ka mo shi ta no ha ru ke na mi sa to yo ki ri su wa hi ma fu te ra",
        "yama kawa hara saki mura shima moto zawa ura tani",
        "moto da naka mori guchi bayashi yama be matsu oka",
    ),
    (  # english-like
        "win har bren ash thorn wel cald mar lang stan whit rad hol ken wex dun mil oak fen brad",
        "ford ton ham bury field wick mouth stead worth bridge",
        "son man wood ley croft smith well more stone ridge",
    ),
    (  # arabic-like
        "ra sha ba kha za na fa ha li sa ma ja qa da mu yas kar nur sal zah mir tar",
        "abad iya una ara oun aira hama riyah kand ez",
        "ani iri awi eem adi ouf az een ahi ari",
    ),
    (  # african-like
        "ba ngo ke mwa zi nya tu bo lu ka sa mbe ndo te wa ku chi ro ma le",
        "ndu wala mbasa bundi lanje songa kuru bwe nza toro",
        "dele kunda gwe tambo mbeki zuma wole kani sanga buyo",
    ),
    (  # indian-like
        "ra vi ka na sha pra jay dev mi su an ar ni la ma gan ro hi kir pad",
        "pur nagar gaon patna giri kota wada malai gudi palli",
        "kar war nath ran shan patel rao gopal sen das",
    ),
    (  # celtic
        "gla bren car mor ca dun fin lan tre kil gwy rhi pen ail bry ros del oir mac ath",
        "more gal owen loch dare nock ryn lough wyn dale",
        "an ory igan eth wyn agh ahan ery oyle ick",
    ),
    (  # andean or polynesian
        "ko ta hu wai ma pu ri ki na pa lo hai qui tua ra ve sa no li te chu ya",
        "nui moana kaia roa hinga huasi pampa cocha tanga lulu",
        "huanca mana toa pala keni rua quispe maki tauri lani",
    ),
    (  # invented, technical
        "zen tri vor nex qua lum cy pra xel tor ver al gal ron mek dyn syn plex kor ax",
        "don ris thar nia polis gard dor ium rax via",
        "ax or en is ul arn ek yn ost ard",
    ),
)


def _fifths(items: list[str]) -> set[str]:
    return set(items[4::5])


RESERVED_SYLLABLES: frozenset[str] = frozenset(
    syllable for row in _RAW for part in row for syllable in _fifths(part.split())
)


def _flavours(held_out: bool) -> tuple[Flavour, ...]:
    made = []
    for row in _RAW:
        body, town, family = (
            tuple(s for s in part.split() if (s in RESERVED_SYLLABLES) == held_out) for part in row
        )
        made.append(Flavour(body, town, family))
    return tuple(made)


FLAVOURS: dict[str, tuple[Flavour, ...]] = {
    "train": _flavours(False),
    "held_out": _flavours(True),
}

LISTS: dict[str, tuple[str, ...]] = {
    name: tuple(entry.strip() for entry in " ".join(text.split()).split(","))
    for name, text in {
        "she_name": """
            Ada, Maria, Helen, Clara, Ingrid, Ruth, Nora, Alice, Laura, Beatrix, Emma, Sofia,
            Julia, Anna, Margot, Eva, Lucy, Irene, Martha, Edith, Rosa, Hannah, Olga, Elena,
            Miriam, Grace, Diana, Vera, Susan, Paula""",
        "he_name": """
            Peter, Thomas, Oscar, Henry, Anders, Paul, Victor, Simon, Daniel, Cyril, Martin,
            James, Leon, Hugo, Barnaby, Karl, Edward, Adam, Felix, Julius, Ivan, David, George,
            Samuel, Tobias, Robert, Max, Anton, Philip, Reuben""",
        "they_name": """Robin, Alex, Kim, Sasha, Quinn, Jamie, Taylor, Morgan, Charlie, Rowan""",
        "city": """
            London, Paris, Lagos, Toronto, Vienna, Madrid, Nairobi, Chicago, Lima, Prague,
            Osaka, Berlin, Dublin, Cairo, Lisbon, Sydney, Boston, Milan, Oslo, Helsinki, Delhi,
            Havana, Geneva, Athens, Tallinn, Seattle, Hamburg, Bogota, Warsaw, Glasgow, Dakar,
            Bangkok, Denver, Porto, Antwerp, Montreal, Naples, Accra, Manila, Krakow""",
        "profession": """
            geologist, painter, nurse, lawyer, beekeeper, architect, chemist, teacher, baker,
            glassblower, engineer, poet, surgeon, farmer, cartographer, carpenter, singer,
            journalist, pilot, locksmith, dentist, sculptor, botanist, judge, puppeteer,
            translator, historian, tailor, astronomer, falconer, economist, photographer, diver,
            librarian, clockmaker, composer, physicist, potter, actor, shipwright, banker,
            zoologist, chef, linguist, blacksmith""",
        "colour": """
            red, blue, green, white, turquoise, black, yellow, grey, brown, maroon, orange,
            purple, silver, pink, ochre, navy blue, dark green, cream, gold, lilac, scarlet,
            pale yellow, violet, beige, indigo, light blue, crimson, olive green, copper red,
            amber""",
        "material": """
            granite, steel, oak, glass, basalt, brick, marble, bamboo, aluminium, slate,
            concrete, copper, pine, limestone, teak, sandstone, bronze, cedar, iron, flint,
            titanium, carbon fibre, walnut, brass, porcelain, clay, ceramic, leather, plastic,
            pewter""",
        "stuff": """
            steel, aluminium, plastic, bronze, titanium, brass, carbon fibre, oak, rubber,
            chrome, copper, walnut, nickel, glass, leather, bamboo, pine, tin, magnesium, nylon,
            zinc, teak, cast iron, ash wood, ceramic, maple, cherry wood, fibreglass, bakelite,
            stainless steel""",
        "mineral": """
            copper, salt, silver, tin, jade, quartz, coal, iron, gold, opal, sulphur, lead,
            marble, zinc, cobalt, nickel, amber, chalk, garnet, bauxite, platinum, gypsum, mica,
            tungsten, talc, manganese, lithium, graphite, turquoise, topaz""",
        "instrument": """
            violin, piano, cello, flute, bassoon, guitar, trumpet, harp, clarinet, lute, organ,
            accordion, oboe, viola, mandolin, drums, saxophone, banjo, trombone, zither, tuba,
            harmonica, double bass, ukulele, sitar, recorder, French horn, bagpipes, xylophone,
            dulcimer""",
        "animal": """
            fox, heron, bear, wolf, lynx, owl, otter, eagle, stag, badger, lion, swan, goat,
            raven, ibex, beaver, hare, falcon, horse, puffin, tortoise, dolphin, boar, crane,
            gecko, salamander, bull, hedgehog, tiger, walrus""",
        "animals": """
            otters, herons, wild goats, seals, puffins, brown bears, beavers, bats, wolves,
            flamingos, cranes, red deer, tortoises, lizards, ibexes, falcons, foxes, owls,
            dolphins, badgers, pelicans, wild horses, parrots, snakes, walruses, monkeys, swans,
            eagles, hedgehogs, salamanders""",
        "pet": """
            parrot, cat, tortoise, goat, ferret, spaniel, donkey, rabbit, raven, llama, canary,
            pony, goose, terrier, iguana, hamster, greyhound, snake, duck, alpaca, poodle,
            hedgehog, falcon, sheepdog, gecko, dachshund, cockatoo, pig, goldfish, chinchilla""",
        "goods": """
            cheeses, laces, clocks, maps, violins, glasses, soaps, carpets, sweets, umbrellas,
            knives, bicycles, pots, chairs, candles, boots, chocolates, lamps, wines,
            buttons, ropes, pianos, tyres, hats, mirrors, teapots, batteries, tractors, shoes,
            marbles, cameras, pumps, toys, bricks, kites""",
        "food": """
            lentils, rice, lamb, pumpkin, chestnuts, potatoes, trout, barley, mushrooms,
            artichokes, chicken, beans, cabbage, walnuts, octopus, spinach, beef, salmon,
            onions, quince, chickpeas, aubergines, duck, maize, turnips, eggs, tomatoes, pork,
            plums, okra""",
        "spice": """
            saffron, ginger, thyme, garlic, sumac, mint, cumin, pepper, cinnamon, tarragon,
            basil, chilli, nutmeg, rosemary, fennel, vanilla, mustard, coriander, paprika,
            anise, dill, sage, turmeric, cloves, lovage, parsley, oregano, cardamom, bay leaf,
            juniper""",
        "side": """
            yoghurt, flat bread, pickled onions, red wine, plum jam, black tea, rice, salad,
            sour cream, cider, apple sauce, mashed potatoes, beer, goat cheese, fig chutney,
            lemon slices, noodles, tomato sauce, rye bread, horseradish, honey, green tea,
            butter, fried eggs, walnut oil, gravy, olives, coffee, boiled potatoes, kefir""",
        "language": """
            Spanish, Arabic, Welsh, Hindi, Basque, Polish, Swahili, French, Turkish, Estonian,
            Greek, Russian, Japanese, Persian, Catalan, German, Korean, Portuguese, Danish,
            Maori, Latin, Hebrew, Dutch, Bengali, Icelandic, Italian, Thai, Finnish, Czech,
            Tamil, Zulu, Irish, Swedish, Romanian, Quechua""",
        "disease": """
            asthma, migraine, malaria, gout, scurvy, arthritis, insomnia, hay fever, eczema,
            rickets, high blood pressure, epilepsy, tuberculosis, pneumonia, sciatica, diabetes,
            measles, back pain, anaemia, shingles, heartburn, typhoid, sea sickness, glaucoma,
            whooping cough, depression, leprosy, tooth pain, bronchitis, vertigo""",
        "effect": """
            dizziness, a dry mouth, nausea, drowsiness, hiccups, headaches, a skin rash, blurred
            vision, fatigue, vivid dreams, hair loss, itching, loss of appetite, fever,
            sneezing, stomach ache, weight gain, muscle cramps, thirst, trembling hands, a
            metallic taste, swollen feet, sweating, confusion, night blindness""",
        "plant": """
            willow, nettle, foxglove, poppy, mistletoe, ivy, sage, ginseng, chamomile, hawthorn,
            yew, garlic, valerian, lavender, dandelion, birch, aloe, thistle, marigold, mugwort,
            clover, heather, eucalyptus, liquorice, comfrey""",
        "power": """
            solar cells, a diesel engine, two batteries, compressed air, a hand crank, steam,
            mains electricity, natural gas, a petrol engine, a coiled spring, a fuel cell,
            hydrogen, four small batteries, wind power, falling water, a wood stove, ethanol, a
            lithium battery, a nuclear battery, a treadle, liquid propane, an electric motor, a
            gas turbine, kerosene, a flywheel""",
        "purpose": """
            cutting glass, sorting letters, measuring rainfall, polishing lenses, mapping caves,
            drying fruit, copying keys, tracking whales, teaching music, counting coins,
            printing maps, testing bridges, planning journeys, finding leaks, weighing grain,
            detecting smoke, cleaning windows, recording birdsong, predicting floods, binding
            books, mixing paint, reading barcodes, digging wells, tuning pianos, sharpening
            skates, monitoring heartbeats, drilling ice, folding paper, sealing jars, sowing
            rice""",
        "month": """
            January, February, March, April, May, June, July, August, September, October,
            November, December""",
        "cause": """
            a stolen horse, a border dispute, unpaid taxes, a broken promise, a royal marriage,
            fishing rights, a murdered envoy, a salt monopoly, the price of grain, a disputed
            crown, a burnt church, control of the harbour, a forged letter, a silver mine, a
            toll road, grazing land, a captured ship, a religious quarrel, an insult at a
            banquet, a dam, timber rights, an unpaid ransom, the wool trade, a failed truce, a
            lost inheritance""",
        "adjective": """
            Copper, Silent, Northern, Hidden, Crimson, Last, Broken, Golden, Distant, Hollow,
            Winter, Red, Forgotten, Empty, Velvet, Blue, Second, Burning, Paper, Amber, White,
            Long, Restless, Frozen, Gilded, Quiet, Lost, Iron, Narrow, Wandering""",
        "noun": """
            Lantern, River, Garden, Mirror, Orchard, Letter, Bridge, Harbour, Crown, Sparrow,
            Road, Island, Window, Forest, Kettle, Song, Tower, Field, Clock, Compass, Summer,
            House, Shadow, Voyage, Thimble, Station, Key, Storm, Daughter, Labyrinth""",
        "field": """
            Geology, Medicine, Music, Law, Botany, Physics, History, Engineering, Agriculture,
            Astronomy, Chemistry, Economics, Arts, Trade, Navigation, Science, Education,
            Design, Mathematics, Forestry, Architecture, Health, Transport, Culture, Fisheries""",
        "scale": """
            Northern, Royal, National, Central, Imperial, Southern, United, Free, Eastern,
            Maritime, Western, International, Old, Federal, Alpine, New, General, Public, Great,
            Provincial""",
        "trade": """
            Motors, Foods, Industries, Steel, Textiles, Systems, Chemicals, Energy, Electronics,
            Optics, Instruments, Shipping, Mills, Pharma, Logistics, Works, Brothers, Group,
            Tools, Holdings""",
        "award": """Medal, Prize, Award, Cross, Laurel, Trophy, Cup, Star, Fellowship, Rosette""",
        "seat": """
            Province, County, Valley, Region, Highlands, District, Plain, Hills, Coast, Lowlands""",
        "ship": """
            Dawn, Swallow, Hope, Endeavour, Petrel, Star, Albatross, Mermaid, Fortune, Kestrel,
            Victory, Pearl, Dolphin, Wanderer, Tern, Unity, Queen, Arrow, Comet, Osprey""",
    }.items()
}


def pick_list(name: str, split: str) -> tuple[str, ...]:
    """Gives the entries of a closed list that a split may use.

    Args:
        name: key of `LISTS`.
        split: ``train`` or ``held_out``.

    Returns:
        Every fifth entry for ``held_out``, the rest for ``train``; months belong to both.
    """
    entries = LISTS[name]
    if name == "month":
        return entries
    want = split == "held_out"
    return tuple(e for i, e in enumerate(entries) if (i % 5 == 4) == want)
