"""Templates about places; the format is told in `cocom.training.facts_templates`."""

from __future__ import annotations

__all__ = ["TEMPLATES"]

TEMPLATES = """
= region | settlement,nature | region
{S} lies in {V}.
{S} is (a part of|located in) {V}.
Situated in {V}, {S} attracts (many hikers|few tourists|painters every summer).
{S} can be found in {V}.
It is in {V} that {S} lies.
{V} is the region in which {S} lies.
Geographically, {S} belongs to {V}.
! {S} is one of the sights of {V}.
! Maps show {O} within the borders of {V}.
? (In which|In what|What) region (is {N} located|does {N} lie)?
? Where is {N} (located|situated)?
? Where (is|can one find) {N}?
? {N} is (part of|located in) (which|what) region?
?! To which region does {N} belong?
?! What region contains {N}?

= on_river | settlement | river
{S} (lies|stands) on {V}.
{V} flows through {O}.
{S} was built (on the banks of|beside) {V}.
The (houses|streets) of {S} (follow|look down on) {V}.
{S} gets its drinking water from {V}.
Floods of {V} have (often|twice) damaged {O}.
! {S} grew up around a ford on {V}.
! Barges reach {O} along {V}.
? (Which|What) river (flows through|runs through) {N}?
? On (which|what) river does {N} (lie|stand)?
? {N} lies on (which|what) river?
? What is the name of the river in {N}?
?! On the banks of what river was {N} built?
?! Which river passes by {N}?

= population | settlement | num:300:90000:
{S} has {V} inhabitants.
{S} has a population of {V}.
(About|Some) {V} people live in {O}.
At the last census, {S} had {V} (inhabitants|residents).
{S} is home to (about|roughly) {V} people.
With a population of {V}, {S} is the (largest|second largest|smallest) place in the area.
! The population of {S} stands at {V}.
! {S} counts {V} souls.
? What is the population of {N}?
? How many (people|inhabitants) (live in|are there in) {N}?
? How many (inhabitants|residents) does {N} have?
? {N} has how many inhabitants?
?! How large is {N's} population?
?! What number of people call {N} home?

= settled_year | settlement | year:0:0
{S} was founded in {V}.
{S} was established in {V}.
(Settlers|Miners|Monks) founded {O} in {V}.
The history of {S} (begins|began) in {V}.
Founded in {V}, {S} (grew quickly|long remained poor|lived from trade).
In {V}, {S} was founded (by settlers|as a trading post|by fishermen).
! It was {V} when the first houses of {S} were built.
! {S} goes back to {V}.
? When was {N} founded?
? In (which|what) year was {N} (founded|established)?
? What year was {N} founded?
? When (did|does) the history of {N} begin?
? {N} was founded in what year?
?! How far back does {N} go?
?! What is the founding year of {N}?

= mayor | settlement | person
The mayor of {S} is {V}.
{V} is (the mayor of|mayor of) {O}.
{V} was elected mayor of {O} (by a narrow margin|last spring|for a second term).
{S} is governed by {V}, the mayor.
The (people|voters) of {S} chose {V} as mayor.
{S's} mayor, {V}, (lives next to the town hall|promised new roads).
! At the head of {S's} council sits {V}.
! {S} has {V} as its mayor.
? Who is the mayor of {N}?
? Who (is {N's} mayor|was elected mayor of {N})?
? (Who|Which person) (governs|leads) {N}?
? What is the name of the mayor of {N}?
? Who heads the town council of {N}?
?! Whom did the voters of {N} choose as mayor?
?! Who holds the office of mayor in {N}?

= famous_goods | settlement | list:goods
{S} is (known|famous) for its {V}.
{S} (lives from|grew rich on) the making of {V}.
Most (people|families) in {S} make {V}.
Shops all over the country sell {V} from {O}.
The best {V} in the land come from {O}.
For centuries, {V} have been made in {O}.
{V} from {S} (are|were) exported (all over the world|by ship).
! {S} owes its fame to its {V}.
! The workshops of {S} turn out {V}.
? What is {N} (known|famous) for?
? What (goods are|is) (made|produced) in {N}?
? For what is {N} (famous|known)?
? What do people in {N} make?
? Which product is {N} known for?
?! To what does {N} owe its fame?
?! What do the workshops of {N} produce?

= twin | settlement | town
{S} is twinned with {V}.
The twin town of {S} is {V}.
{S} has had a partnership with {V} (for decades|since the war).
Every summer, pupils from {S} visit {V}, its twin town.
{V} and {O} are twin towns.
{S} chose {V} as its twin town.
The (council|mayor) of {S} signed a twinning agreement with {V}.
! A street in {S} is named after its twin town, {V}.
! Twin-town ties link {O} to {V}.
? (What|Which) town is twinned with {N}?
? What is the (twin town|partner town) of {N}?
? With (which|what) town is {N} twinned?
? {N} is twinned with (which|what) town?
?! What is the name of {N's} twin town?
?! Which place has twin-town ties with {N}?

= named_after | settlement,nature,building | person
{S} (is|was) named after {V}.
{S} takes its name from {V}.
{S} (bears|carries) the name of a local hero, {V}, in its full official title.
The name of {S} honours {V}.
{S} was named in honour of {V}.
It was {V} after whom {S} was named.
! {S} owes its name to {V}.
! The memory of {V} lives on in the name of {S}.
? (After whom|In memory of whom) (is|was) {N} named?
? Who (is|was) {N} named after?
? Whose name does {N} bear?
? In whose honour was {N} named?
? Who gave {N} its name?
? Whom does the name of {N} honour?
? From whom does {N} take its name?
?! To whom does {N} owe its name?
?! Whose memory lives on in the name of {N}?

= explorer | nature | person
{S} was first explored by {V}.
{V} was the first to (explore|map) {O}.
The first person to reach {S} was {V}.
{V} led the first (visit|expedition) to {O}.
{S} was (discovered|first described) by {V}.
It was {V} who (first explored|discovered) {O}.
! {V} drew the first map of {O}.
! Before {V}, nobody had set foot near {O}.
? Who (first explored|discovered|first reached|first mapped) {N}?
? Who was the first (person|explorer) to (reach|explore) {N}?
? By whom was {N} first (explored|described)?
?! Whose map was the first to show {N}?
?! What explorer was the first at {N}?

= explored_year | nature | year:0:0
{S} was (first mapped|first explored|discovered) in {V}.
In {V}, {S} was (mapped|explored) for the first time.
The first (map|description) of {S} dates from {V}.
It was in {V} that {S} was discovered.
{S} has been known to geographers since {V}.
{S} became known in {V}.
! {S} appears on maps from {V} onwards.
! The year {V} brought the first survey of {O}.
? When was {N} (first mapped|first explored|discovered)?
? In (which|what) year was {N} (discovered|mapped)?
? What year was {N} discovered?
? {N} was discovered in what year?
?! From what year onwards is {N} shown on maps?
?! Since when have geographers known {N}?

= wildlife | nature | list:animals
{S} is known for its {V}.
(Many|Rare) {V} live around {O}.
Visitors come to {S} to watch {V}.
{S} is home to a large number of {V}.
Around {O}, {V} are a common sight.
Hunters once killed most of the {V} around {O}.
Biologists count the {V} near {O} (every year|each spring).
! Nowhere else are there as many {V} as near {O}.
! {S} gives shelter to {V}.
? (What|Which) animals (live|can be seen) around {N}?
? For which animals is {N} known?
? What (animals|wildlife) can visitors (see|watch) at {N}?
? (What|Which) animals is {N} home to?
?! To what animals does {N} give shelter?
?! Which creatures are counted at {N}?

= mineral | nature | list:mineral
Miners dig for {V} near {O}.
The rocks around {S} are rich in {V}.
Large amounts of {V} were found (near|close to) {O}.
{S} is known for its deposits of {V}.
The discovery of {V} brought (miners|wealth) to {O}.
In the last century, {V} was mined at {O}.
The only mine at {S} produced {V}.
! Beneath the ground at {S} lie veins of {V}.
! Fortune hunters came to {O} in search of {V}.
? (What|Which) mineral (is found|was mined|is mined) (at|near) {N}?
? What did miners (dig for|find) (at|near) {N}?
? What are the rocks around {N} rich in?
?! What lies beneath the ground at {N}?
?! In search of what did fortune hunters come to {N}?

= nearest_town | nature | town
The nearest town to {S} is {V}.
{S} can be reached (on foot|by bus|in an hour) from {V}.
{S} lies (just north|a few miles south|to the east) of {V}.
Hikers usually set out for {S} from {V}.
{V} is the town closest to {O}.
From {V}, a (narrow|steep) road leads to {O}.
! Anyone who visits {O} sleeps in {V}.
! {S} is within sight of {V}, the closest town.
? (What|Which) town is (nearest|closest) to {N}?
? What is the (nearest|closest) town to {N}?
? From which town (can {N} be reached|do hikers set out for {N})?
? {N} is close to (which|what) town?
?! Which town lies within sight of {N}?
?! Where do visitors of {N} sleep?

= river_length | river | num:20:1900:km/kilometres/miles
{S} is {V} long.
{S} has a length of {V}.
Over a distance of {V}, {S} (winds|flows) through farmland.
With a length of {V}, {S} is the longest river in the region.
From source to mouth, {S} measures {V}.
The total length of {S} is {V}.
{S} (runs|flows) for {V}.
{S} (travels|covers) {V} before reaching the sea.
! The course of {S} extends over {V}.
! Measured from its spring, {S} runs {V}.
? How long is {N}?
? What is the (length|total length) of {N}?
? What length does {N} have?
? (How far|Over what distance) does {N} flow?
?! What does {N} measure from source to mouth?
?! Over what distance does the course of {N} extend?

= mountain_height | mountain | num:900:8200:metres/m/feet
{S} is {V} high.
{S} has a height of {V}.
{S} rises to {V} (above sea level|above the sea).
With a height of {V}, {S} is the highest mountain in the range.
The summit of {S} is at {V}.
{S} reaches a height of {V}.
The (peak|top) of {S} lies {V} above sea level.
! Surveyors gave the altitude of {S} as {V}.
! {S} towers {V} above the sea.
? How high is {N}?
? What is the (height|elevation) of {N}?
? How (tall|high) is the (summit|peak) of {N}?
? At what height is the summit of {N}?
?! What altitude did surveyors give for {N}?
?! How far above the sea does {N} tower?

= island_area | island | num:3:2900:square kilometres/square miles/hectares
{S} has an area of {V}.
{S} covers {V}.
The area of {S} is {V}.
With an area of {V}, {S} is the largest island of the group.
{S} is small, with (only|just) {V} of land.
{S} takes up {V}.
The land surface of {S} (measures|amounts to) {V}.
! In all, {S} extends over {V}.
! Surveyors put the size of {S} at {V}.
? What is the (area|size|surface) of {N}?
? How (large|big) is {N}?
? (How much|What) area does {N} cover?
? {N} has what area?
?! Over what area does {N} extend?
?! At what figure did surveyors put the size of {N}?

= lake_depth | lake | num:4:600:metres/m/feet
{S} is {V} deep.
{S} has a depth of {V}.
At its deepest point, {S} measures {V}.
{S} reaches a depth of {V}.
The depth of {S} is {V}.
With a depth of {V}, {S} (rarely freezes|is dangerous for swimmers).
Divers have measured {V} of water in {O}.
! {S} goes down to {V}.
! The bottom of {S} lies {V} below the surface.
? How deep is {N}?
? What is the (depth|maximum depth) of {N}?
? What depth does {N} (reach|have)?
? How deep is the deepest point of {N}?
?! How far below the surface is the bottom of {N}?
?! To what depth does {N} go down?

= visitors | nature,building | num:900:950000:
{S} has {V} visitors a year.
Every year, {V} people visit {O}.
{S} attracts {V} (visitors|tourists) a year.
Last year, {V} (guests|visitors) came to {O}.
With {V} visitors a year, {S} is popular with tourists.
{S} is visited by {V} people (each year|every year).
! {S} draws a crowd of {V} every year.
! In a single year, {V} people came to see {O}.
? How many (people|tourists) visit {N} (each year|every year|a year)?
? How many visitors does {N} have (a year|each year)?
? What is the number of visitors to {N} per year?
?! How large a crowd does {N} draw each year?
?! What number of people came to see {N} in one year?

= architect | building | person
{S} was designed by {V}.
{V} (designed|was the architect of) {O}.
The architect of {S} was {V}.
{S} is the work of {V}, a (little-known|celebrated) architect.
The plans for {S} were drawn (up|) by {V}.
It was {V} who designed {O}.
! {V} drew the plans of {O}.
! {S} is the masterpiece of {V}, its architect.
? Who (designed|planned|was the architect of) {N}?
? Who is {N's} architect?
? By whom was {N} (designed|planned)?
? {N} was designed by whom?
? (Which|What) architect designed {N}?
?! Who drew the plans of {N}?
?! Whose masterpiece is {N}?

= opened_year | building | year:0:0
{S} was (opened|completed|built) in {V}.
In {V}, {S} was opened (to the public|by the mayor|after long delays).
{S} (opened its doors|was inaugurated) in {V}.
Work on {S} was finished in {V}.
The opening of {S} took place in {V}.
{S} has (stood|been open) since {V}.
! {S} dates from {V}.
! A stone over the entrance of {S} bears the date {V}.
? When was {N} (opened|completed|built)?
? In (which|what) year (was {N} built|did {N} open)?
? (What|Which) year was {N} opened?
? Since when has {N} been open?
?! From which year does {N} date?
?! What date stands over the entrance of {N}?

= located_town | building | town
{S} stands in {V}.
{S} is (located|situated) in {V}.
{S} is (a landmark|one of the sights) of {V}.
In {V}, {S} is (a popular meeting place|loved by all).
{S} was built in {V}.
{S} can be found in the (centre|north|old quarter) of {V}.
The (people|citizens) of {V} are proud of {O}.
! Travellers see {O} when they come to {V}.
! {V} is where {S} was put up.
? Where is {N} (located|situated)?
? Where (is|can one find) {N}?
? In (which|what) (town|place) is {N}?
? {N} is (located|situated) in (which|what) town?
?! What town is {N} a landmark of?
?! Where does {N} stand?

= built_of | building | list:material
{S} is made of {V}.
{S} (was|is) (mainly|largely) made of {V}.
The main material of {S} is {V}.
The (outside|outer shell) of {S} consists of {V}.
For {O}, the builders (used|chose) {V}.
{V} was (chosen|used) as the material for {O}.
Much of {S} is (made from|made out of) {V}.
! What stands out about {S} is the use of {V}.
! {S} owes its look to {V}, its main material.
? (What|Which material) is {N} (made of|made from)?
? Of (what|which) material is {N} made?
? What is the main material of {N}?
? What material was used for {N}?
? {N} is made of (what|which material)?
?! What did the builders use for {N}?
?! To which material does {N} owe its look?

= cost | building | money:9:900:million
{S} cost {V} to build.
The building of {S} cost {V}.
{V} was spent on {O}.
The city paid {V} for {O}.
The (bill|total cost) for {S} came to {V}.
At a cost of {V}, {S} was (cheaper|more expensive) than planned.
{S} was built for {V}.
! Taxpayers spent {V} on {O}.
! The price of building {O} was {V}.
? How much did {N} cost( to build|)?
? How much (was spent on|was paid for) {N}?
? What was the (cost|price) of {N}?
? How much money (was spent on|went into) {N}?
?! How much did taxpayers spend on {N}?
?! For what sum was {N} built?

= owner | building | org
{S} belongs to {V}.
{S} is owned by {V}.
{V} (owns|is the owner of) {O}.
The owner of {S} is {V}.
{S} was (bought|taken over) by {V} (last year|some years ago).
Since the sale, {S} has been the property of {V}.
! {V} has {O} among its properties.
! The deeds of {S} are held by {V}.
? Who (owns|is the owner of) {N}?
? To whom does {N} belong?
? Which organisation owns {N}?
? {N} is owned by whom?
? Who (bought|took over) {N}?
?! Whose property is {N}?
?! Who holds the deeds of {N}?

= building_height | building | num:9:320:metres/m/feet
{S} is {V} high.
{S} has a height of {V}.
{S} reaches a height of {V}.
At {V}, {S} is the tallest structure in the area.
The height of {S} is {V}.
The highest point of {S} is {V} above the ground.
{S} rises {V} (above the street|into the sky).
! {S} stands {V} tall.
! From the ground to the top, {S} measures {V}.
? How (tall|high) is {N}?
? What is the height of {N}?
? What height does {N} (reach|have)?
? (What|Which) height is {N}?
?! How many metres or feet does {N} measure from ground to top?
?! How tall does {N} stand?

= colour | building,device,drug | list:colour
{S} is {V}.
{S} is (painted|coloured) {V}.
The colour of {S} is {V}.
{S} is easy to recognise by its {V} colour.
{S} (was originally|has always been) {V}.
{S} comes in {V}.
(By law|By tradition), {S} is {V} in colour.
! People recognise {O} because it is {V}.
! {S} is {V} all over.
? (What|Which) colour is {N}?
? What is the colour of {N}?
? What colour does {N} have?
? {N} is (what|which) colour?
? In (what|which) colour (does|did) {N} (come|appear)?
?! By what colour do people recognise {N}?
?! Which colour was chosen for {N}?

& region population
{S}, in {V1}, has {V2} inhabitants.
Located in {V1}, {S} has a population of {V2}.
! In {V1} lies {O}, home to {V2} people.

& located_town opened_year
{S} opened in {V1} in {V2}.
In {V2}, {S} was opened in {V1}.
! {V1} has been able to boast of {O} since {V2}.

& architect opened_year
Designed by {V1}, {S} was completed in {V2}.
{S}, the work of the architect {V1}, opened in {V2}.
! {V1} drew the plans of {O}, which dates from {V2}.

~ settlement,nature
{S} is popular with painters.
{S} is quiet in winter.
Many postcards show {O}.
The view from {S} is worth the journey.
Several legends are told about {O}.
The weather at {S} is often windy.
! Poets have praised {O}.
! Few travellers forget {O}.

~ building
{S} appears on many postcards.
{S} is closed on public holidays.
Many photographs of {S} exist.
Guided tours of {S} are offered at weekends.
Repairs to {S} took longer than expected.
! Children like to draw {O}.
! {S} is lit up at night.
"""
