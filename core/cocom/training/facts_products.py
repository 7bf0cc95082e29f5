"""Templates about products and works; the format is told in `cocom.training.facts_templates`."""

from __future__ import annotations

__all__ = ["TEMPLATES"]

TEMPLATES = """
= maker | device,drug,software | company
{S} is (made|produced|developed) by {V}.
{V} (makes|produces|developed) {O}.
The maker of {S} is {V}.
{S} is a product of {V}.
{S} was (developed|brought out) by {V} (after years of testing|in a hurry).
{V} (earns|has earned) a lot of money with {O}.
! {S} comes from {V}.
! Behind {O} is a firm by the name of {V}.
? (Who|Which company) (makes|produces|developed) {N}?
? Who is the (maker|manufacturer|producer) of {N}?
? By whom (is {N} made|was {N} developed)?
? {N} is made by (whom|which company)?
?! What firm does {N} come from?
?! Which firm is behind {N}?

= release_year | device,drug,software | year:0:0
{S} (was released|was introduced|came out) in {V}.
{S} has been (sold|on the market) since {V}.
In {V}, {S} (was launched|went on sale).
First sold in {V}, {S} (was a great success|found few buyers).
Sales of {S} began in {V}.
It was in {V} that {S} went on sale.
! {S} reached the shops in {V}.
! The year {V} saw the debut of {O}.
? When was {N} (released|introduced|launched)?
? In (which|what) year (was {N} released|did {N} come out)?
? (What|Which) year was {N} introduced?
? Since when has {N} been on the market?
?! When did {N} reach the shops?
?! What year saw the debut of {N}?

= price | device,drug,software,dish | money:3:990:
{S} costs {V}.
{S} sells for {V}.
The price of {S} is {V}.
(Shops|Dealers) charge {V} for {O}.
At {V}, {S} is (cheaper than most|not cheap).
{S} is (sold|offered) at a price of {V}.
Customers pay {V} for {O}.
! {S} can be had for {V}.
! The price tag of {S} says {V}.
? How much does {N} cost?
? What is the price of {N}?
? How much (do customers pay|do shops charge) for {N}?
? For how much is {N} sold?
? At what price is {N} (sold|offered)?
?! What does the price tag of {N} say?
?! For what sum can {N} be had?

= weight | device | num:2:950:kg/kilograms/pounds
{S} weighs {V}.
{S} has a weight of {V}.
The weight of {S} is {V}.
With a weight of {V}, {S} is (easy to carry|heavier than it looks).
At {V}, {S} is lighter than older models.
When packed, {S} weighs {V}.
On the scales, {S} (showed|reached) {V}.
! {S} tips the scales at {V}.
! Anyone lifting {O} has to lift {V}.
? How (much does {N} weigh|heavy is {N})?
? What is the weight of {N}?
? What does {N} weigh?
? {N} has what weight?
? {N} weighs how much?
?! At what weight does {N} tip the scales?
?! What must anyone lifting {N} be able to lift?

= designer | device,software | person
{S} was (designed|invented) by {V}.
{V} (designed|invented) {O}.
The (designer|inventor) of {S} was {V}.
It was {V} who designed {O}.
{S} is the work of {V}.
Designed by {V}, {S} (won several prizes|looks simple).
! {S} sprang from the mind of {V}.
! The idea for {O} came from {V}.
? Who (designed|invented) {N}?
? Who was the (designer|inventor) of {N}?
? By whom was {N} (designed|invented)?
? {N} was designed by whom?
?! From whose mind did {N} spring?
?! Who had the idea for {N}?

= casing | device | list:stuff
The casing of {S} is made of {V}.
{S} has a (casing|body) of {V}.
{S} is (mainly|largely) made of {V}.
For the body of {S}, the engineers (chose|used) {V}.
Most parts of {S} are made of {V}.
Because it is made of {V}, {S} (is expensive|lasts a long time|does not rust).
! A shell of {V} protects {O}.
! {S} owes its looks to a case of {V}.
? (What|Which material) is {N} (made of|mainly made of)?
? Of (what|which material) is {N} made?
? What is the (casing|body) of {N} made of?
? What material did the engineers (choose|use) for {N}?
?! What protects {N}?
?! To a case of which material does {N} owe its looks?

= made_in | device | town
{S} is (made|built|assembled) in {V}.
{S} leaves a (factory|plant) in {V}.
Workers in {V} (assemble|build) {O}.
A factory in {V} (makes|turns out) {O}.
The factory that makes {O} is in {V}.
In {V}, {S} is put together by hand.
! {V} is the town where {S} is manufactured.
! Each part of {S} is manufactured in {V}.
? Where is {N} (made|built|assembled)?
? In (which|what) (town|place) is {N} (made|built)?
? {N} is made in (which|what) town?
? Where is the factory that makes {N}?
?! In what town do workers manufacture {N}?
?! Where do the parts of {N} come from?

= power | device | list:power
{S} is (powered|driven) by {V}.
{S} (runs|works) on {V}.
{S} gets its (power|energy) from {V}.
Energy for {O} comes from {V}.
The power source of {S} is {V}.
Unlike older models, {S} uses {V}.
! What keeps {O} going is {V}.
! {S} depends on {V} for its energy.
? What (powers|drives) {N}?
? What is {N} (powered|driven) by?
? What is the power source of {N}?
? (From where does|From what does) {N} get its (power|energy)?
?! What keeps {N} going?
?! On what does {N} depend for its energy?

= codename | device,software | word
During its development, {S} was called {V}.
The code name of {S} was {V}.
{S} had the code name {V}.
{S} was (developed|tested) under the code name {V}.
Engineers knew {O} as {V}.
At first, {S} was known as {V}.
Inside the company, {S} was (known as|called) {V}.
! Before it was finished, {S} went by the name of {V}.
! {V} was the working name of {O}.
? What was the code name of {N}?
? Under (what|which) code name was {N} (developed|tested)?
? What was {N} called (during its development|at first)?
? (What|Which) code name did {N} have?
?! What was the working name of {N}?
?! By what name did {N} go before it was finished?

= purpose | device,software | list:purpose
{S} is used for {V}.
{S} was (designed|built|made) for {V}.
People use {O} for {V}.
The (purpose|main use) of {S} is {V}.
{S} is (a great help in|well suited to) {V}.
Most (owners|buyers) use {O} for {V}.
! {S} serves those who make a living from {V}.
! When it comes to {V}, {S} is hard to beat.
? What is {N} used for?
? For what (is {N} used|was {N} made|do people use {N})?
? What is the (purpose|main use) of {N}?
? What was {N} (designed|made) for?
?! In what task is {N} hard to beat?
?! For which task does one need {N}?

= treats | drug | list:disease
{S} is used to treat {V}.
{S} is a (remedy|medicine) for {V}.
Doctors prescribe {O} for {V}.
{S} helps against {V}.
Patients with {V} are (given|treated with) {O}.
{S} was developed as a treatment for {V}.
! {S} brings relief to people who suffer from {V}.
! In the fight against {V}, {S} has proved its worth.
? What (does {N} treat|is {N} used to treat)?
? (What|Which) (illness|disease|condition) does {N} treat?
? For (what|which illness) do doctors prescribe {N}?
? Against what does {N} help?
?! From what do the people suffer to whom {N} brings relief?
?! In the fight against which condition has {N} proved its worth?

= discoverer | drug | person
{S} was (discovered|first made) by {V}.
{V} discovered {O} (by accident|in a small laboratory).
The discoverer of {S} was {V}.
It was {V} who discovered {O}.
{V} is (credited with the discovery of|known as the discoverer of) {O}.
{S} was discovered by {V} after (nine|three) years of research.
! {S} came out of the laboratory of {V}.
! Medicine owes {O} to {V}.
? Who (discovered|first made) {N}?
? Who was the discoverer of {N}?
? By whom was {N} discovered?
? {N} was discovered by whom?
? Who is credited with the discovery of {N}?
?! Out of whose laboratory did {N} come?
?! To whom does medicine owe {N}?

= side_effect | drug | list:effect
{S} can cause {V}.
A (common|known) side effect of {S} is {V}.
Some (patients|people) who take {O} complain of {V}.
{S} (sometimes|often) leads to {V}.
The (leaflet|label) of {S} warns of {V}.
Among the side effects of {S} is {V}.
! {S} has a drawback, namely {V}.
! Doctors warn that {S} may bring on {V}.
? What is (a side effect|the side effect) of {N}?
? What can {N} (cause|lead to)?
? (What|Which) side effect does {N} have?
? Of what do people who take {N} complain?
?! What may {N} bring on?
?! What drawback does {N} have?

= dose | drug | num:2:900:mg/milligrams/drops
The (daily|usual|recommended) dose of {S} is {V}.
Patients who take {O} take {V} a day.
{S} is taken in doses of {V}.
A (tablet|bottle) of {S} (contains|holds) {V}.
Doctors who prescribe {O} (recommend|suggest) {V} a day.
For adults, the dose of {S} is {V}.
! For {O}, doctors advise {V} a day.
! {S} is safe up to {V} a day.
? What is the (daily|usual|recommended) dose of {N}?
? How much {N} (should patients take|do patients take|do doctors recommend)?
? (In what doses|In which doses) is {N} taken?
?! What amount of {N} do doctors advise?
?! Up to what amount is {N} safe?

= plant_source | drug | list:plant
{S} is made from {V}.
{S} is (extracted|obtained) from {V}.
The (active|main) substance of {S} comes from {V}.
{S} contains an extract of {V}.
{V} is the (plant|source) from which {S} is made.
For {O}, large amounts of {V} are harvested.
! {S} grew out of experiments with {V}.
! The makers of {S} grow {V} on large fields.
? (What|Which plant) is {N} (made|extracted) from?
? From (what|which plant) is {N} (made|obtained)?
? (What|Which) plant is the source of {N}?
?! Experiments with what plant led to {N}?
?! Which plant do the makers of {N} need?

= dish_region | dish | region
{S} comes from {V}.
{S} is a (speciality|traditional dish) of {V}.
In {V}, {S} is (eaten everywhere|very popular).
Cooks in {V} (are proud of|have long made) {O}.
{S} was first (cooked|served) in {V}.
{S} is typical of {V}.
! The home of {S} is {V}.
! Families in {V} have handed down the recipe for {O}.
? Where does {N} come from?
? (What|Which) region (does {N} come from|is {N} typical of)?
? Where was {N} first (cooked|served)?
? Of which region is {N} a speciality?
?! What is the home of {N}?
?! Where was the recipe for {N} handed down?

= dish_inventor | dish | person
{S} was (invented|created) by {V}.
{V} (invented|created|first cooked) {O}.
The inventor of {S} was {V}.
It was {V} who first cooked {O}.
{S} was first served by {V} (at an inn|to hungry soldiers).
The recipe for {O} (comes from|was written down by) {V}.
! {S} was dreamed up by {V}.
! We owe {O} to a cook named {V}.
? Who (invented|created|first cooked) {N}?
? Who was the inventor of {N}?
? By whom was {N} (invented|created)?
? Who (wrote down the recipe for|first served) {N}?
?! Who dreamed up {N}?
?! To which cook do we owe {N}?

= ingredient | dish | list:food
{S} is made with {V}.
The main ingredient of {S} is {V}.
{S} (contains|is based on) {V}.
Cooks make {O} with {V}.
For {O}, one needs plenty of {V}.
{S} consists mainly of {V}.
No recipe for {O} leaves out {V}.
! {S} would be nothing without {V}.
! At the heart of {S} one always finds {V}.
? What is the main ingredient of {N}?
? What is {N} (made with|based on)?
? What does {N} mainly (contain|consist of)?
? What is the most important ingredient of {N}?
?! Without what would {N} be nothing?
?! What is at the heart of {N}?

= spice | dish | list:spice
{S} is (seasoned|flavoured) with {V}.
{S} gets its (taste|flavour) from {V}.
Cooks add {V} to {O} (at the end|before serving).
The (typical|most important) spice in {S} is {V}.
{S} smells of {V}.
A pinch of {V} (is added to|improves) {O}.
! {S} has a strong aroma of {V}.
! {V} gives {O} its character.
? (What|Which) spice is (used in|added to) {N}?
? With (what|which spice) is {N} (seasoned|flavoured)?
? What gives {N} its (taste|flavour)?
? What does {N} smell of?
?! Of what does {N} have a strong aroma?
?! What gives {N} its character?

= cooking_time | dish | num:4:58:minutes/hours
{S} is cooked for {V}.
{S} (takes|needs) {V} to cook.
The cooking time of {S} is {V}.
Cooks leave {O} in the oven for {V}.
It takes {V} to (cook|prepare) {O}.
{S} has to (simmer|rest) for {V}.
! {S} is ready after {V}.
! Whoever wants to eat {O} must wait {V}.
? How long (is {N} cooked|does {N} take to cook|does {N} have to cook)?
? What is the cooking time of {N}?
? How long does it take to (cook|prepare) {N}?
? For how long is {N} cooked?
?! After what time is {N} ready?
?! What time must one wait for {N}?

= served_with | dish | list:side
{S} is (served|eaten) with {V}.
People (eat|enjoy) {O} with {V}.
{S} (goes well|tastes best) with {V}.
In restaurants, {S} comes with {V}.
It is customary to serve {O} with {V}.
{S} is always accompanied by {V}.
! Whoever orders {O} also gets {V}.
! Next to {O}, there is usually {V} on the table.
? What is {N} (served|eaten) with?
? With what is {N} (served|eaten)?
? What (goes well with|comes with) {N}?
? What do people eat with {N}?
?! What does a plate of {N} call for?
?! What is usually next to {N} on the table?

= author | work | person
{S} is by {V}.
{S} was (written|created) by {V}.
{V} (wrote|created|is the author of) {O}.
The (author|creator) of {S} is {V}.
It was {V} who (wrote|created) {O}.
{S} is the (first|most successful|last) work of {V}.
! {S} comes from the pen of {V}.
! Fame came to {V} with {O}.
? Who (wrote|created|is the author of) {N}?
? Who is {N} by?
? By whom was {N} (written|created)?
? {N} was written by whom?
? What is the name of the author of {N}?
?! From whose pen does {N} come?
?! To whom did {N} bring fame?

= work_year | work | year:0:0
{S} (came out|appeared|was first presented) in {V}.
{S} dates from {V}.
In {V}, {S} (appeared|came out) (to good reviews|to little notice|after many delays).
The (public|critics) first saw {O} in {V}.
{S} was (completed|finished) in {V}.
It was in {V} that {S} appeared.
! {S} was first offered to the public in {V}.
! The first review of {S} was printed in {V}.
? When (did {N} come out|did {N} appear|was {N} first presented)?
? In (which|what) year (did {N} appear|was {N} completed)?
? (What|Which) year does {N} date from?
? {N} came out in what year?
?! When was {N} first offered to the public?
?! In what year was {N} first reviewed?

= setting | work | town
{S} is set in {V}.
The (story|plot) of {S} takes place in {V}.
{S} tells a story of (love|crime|war) in {V}.
Most of {S} takes place in {V}.
{V} is the setting of {O}.
In {V}, where {S} is set, (a monument|a small museum) recalls the story.
{S} describes life in {V}.
! The action of {S} unfolds in {V}.
! {S} carries its audience off to {V}.
? Where (is {N} set|does {N} take place)?
? What is the setting of {N}?
? In (which|what) town (is {N} set|does {N} take place)?
? {N} is set in (which|what) town?
?! Where does the action of {N} unfold?
?! To what town does {N} carry its audience off?

= hero | work | person
The (main character|hero) of {S} is {V}.
{S} (tells the story of|is about|follows) {V}.
{S} has {V} as its main character.
In {S}, a young clerk called {V} (discovers a secret|falls in love|goes missing).
{V} is the main character of {O}.
{S} begins with the (arrest|birth|funeral) of its hero, {V}.
! The adventures of {V} fill {O}.
! Everything in {S} revolves around {V}.
? Who is the (main character|hero) of {N}?
? Who is {N} about?
? Whose story does {N} tell?
? What is the name of the (main character|hero) of {N}?
? Which character is {N} about?
?! Whose adventures fill {N}?
?! Around whom does {N} revolve?

= pages | book | num:60:1300:pages
{S} has {V}.
{S} is {V} long.
{S} (contains|runs to) {V}.
The (first edition|original edition) of {S} has {V}.
With {V}, {S} is a (quick read|heavy volume).
The story of {S} fills {V}.
{S} tells its story on {V}.
! The reader of {S} has to turn {V}.
! {S} comes to {V} in print.
? How many pages does {N} (have|contain|run to)?
? How long is {N}?
? What is the length of {N}?
? How many pages are there in {N}?
?! How many pages must the reader of {N} turn?
?! To how many pages does {N} come in print?

= running_time | film,opera,play | num:41:290:minutes
{S} lasts {V}.
{S} is {V} long.
{S} (takes|runs for) {V}.
The running time of {S} is {V}.
With a length of {V}, {S} (tires its audience|is never boring).
A performance of {S} takes {V}.
{S} (lasts|goes on) for {V}.
! The audience of {S} stays seated for {V}.
! {S} is over after {V}.
? How long (is {N}|does {N} last|does {N} take|does {N} run)?
? What is the (length|running time) of {N}?
? For how long does {N} run?
?! For what time must the audience of {N} stay seated?
?! After what time is {N} over?

= work_prize | work | award
{S} (won|received) the {V}.
{S} was awarded the {V}.
The {V} (went to|was given to) {O}.
For {O}, the jury had only praise and the {V}.
{S} became famous when it won the {V}.
To the surprise of critics, {S} won the {V}.
! {S} was crowned with the {V}.
! A jury thought {O} worthy of the {V}.
? (What|Which) (prize|award) did {N} (win|receive)?
? What did {N} win?
? {N} won (what|which) award?
? What was {N} awarded?
?! With what prize was {N} crowned?
?! Of which honour did a jury think {N} worthy?

= work_language | work | list:language
{S} was (originally|first) written in {V}.
The original language of {S} is {V}.
{S} was translated from {V}.
The (original text|first version) of {S} is in {V}.
Written in {V}, {S} was (soon translated|long unknown abroad).
{S} is one of the best-known works in {V}.
! {S} uses the {V} of ordinary people.
! Translators of {S} must have a good command of {V}.
? In (what|which) language was {N} written?
? What is the (original language|language) of {N}?
? (What|Which) language was {N} (written in|translated from)?
?! Of what language must translators of {N} have a good command?
?! What is the language of the first version of {N}?

= dedicated_to | work | person
{S} is dedicated to {V}.
{S} was (dedicated|offered) to {V} (out of gratitude|as a sign of friendship).
The dedication of {S} names {V}.
The (first page|programme) of {S} thanks {V} in a dedication.
{V} is the person to whom {S} is dedicated.
{S} carries a dedication to {V}.
{S} was meant as a (wedding present|birthday present) for {V}.
! {S} pays tribute to {V} in its dedication.
! It was in memory of {V} that {S} was made.
? To whom is {N} dedicated?
? Who is {N} dedicated to?
? Whom does the dedication of {N} (name|thank)?
? Whose name stands in the dedication of {N}?
? {N} (is|was) dedicated to whom?
?! To whom does {N} pay tribute?
?! In memory of whom was {N} made?

= work_publisher | work | company
{S} was (published|produced|financed) by {V}.
{V} (published|produced|paid for) {O}.
The rights to {S} belong to {V}.
{S} was (turned down by others and|) brought out by {V}.
{S} earned a fortune for {V}, the firm that produced it.
It was {V} that brought out {O}.
! {S} reached the public through {V}.
! {V} took the risk of bringing {O} to the public.
? (Who|Which company) (published|produced|brought out) {N}?
? By whom was {N} (published|produced)?
? Who (financed|owns the rights to) {N}?
?! Through which firm did {N} reach the public?
?! What firm took the risk of bringing {N} to the public?

& maker release_year
{S} was released by {V1} in {V2}.
In {V2}, {V1} brought out {O}.
! {S} came from {V1} and reached the shops in {V2}.

& author work_year
{S}, by {V1}, appeared in {V2}.
In {V2}, {V1} completed {O}.
! {S} came from the pen of {V1} in {V2}.

& ingredient spice
{S} is made with {V1} and seasoned with {V2}.
Cooks make {O} from {V1} and {V2}.
! {S} would be nothing without {V1} and a touch of {V2}.

~ device,drug,software
{S} sold better than expected.
{S} was shown at several fairs.
Imitations of {S} soon appeared.
{S} comes with a long manual.
Customers were slow to accept {O}.
! Experts were divided over {O}.
! {S} is hard to find in shops.

~ dish
There are many versions of {S}.
Children love {O}.
Travellers often praise {O}.
{S} can be eaten hot or cold.
! Not everyone likes {O}.
! {S} is easy to prepare.

~ work
Critics were divided over {O}.
{S} is still popular.
{S} has been imitated many times.
Many schools discuss {O} in class.
{S} was almost forgotten for a time.
! {S} is hard to forget.
! Much has been written about {O}.
"""
