"""Templates about events; the format is told in `cocom.training.facts_templates`."""

from __future__ import annotations

__all__ = ["TEMPLATES"]

TEMPLATES = """
= host_town | gathering | town
{S} (is held|takes place) in {V}.
{S} is hosted by the (town|people) of {V}.
Every year, {V} (hosts|is the scene of) {O}.
The (venue|home) of {S} is {V}.
In {V}, {S} (fills the streets|is the highlight of the year).
It is in {V} that {S} takes place.
! {S} brings crowds to {V}.
! Hotels in {V} are full during {O}.
? Where (is {N} held|does {N} take place)?
? (Which|What) town hosts {N}?
? In (which|what) town (is {N} held|does {N} take place)?
? {N} is held in (which|what) town?
?! To what town does {N} bring crowds?
?! Where are the hotels full during {N}?

= first_held | gathering | year:0:0
{S} was first held in {V}.
{S} has been held since {V}.
{S} (began|started) in {V}.
In {V}, {S} was held for the first time.
The first edition of {S} took place in {V}.
The (history|tradition) of {S} goes back to {V}.
{S} has existed since {V}.
! {S} got under way in {V}.
! {S} looks back on a tradition that started in {V}.
? When was {N} (first held|held for the first time)?
? In (which|what) year (was {N} first held|did {N} begin)?
? (What|Which) year did {N} (begin|start)?
? Since when has {N} been held?
?! When did {N} get under way?
?! From what year does the tradition of {N} date?

= organiser | gathering | person
{S} is (organised|run) by {V}.
The organiser of {S} is {V}.
{V} (organises|is in charge of|plans) {O}.
{S} was (founded|started) by {V}, who still organises it.
For {V}, the organiser, {S} means (months|weeks) of work.
This year, {V} is organising {O}.
! The planning of {S} is in the hands of {V}.
! {V} pulls the strings behind {O}.
? Who (organises|runs|plans) {N}?
? Who is the organiser of {N}?
? Who is in charge of {N}?
? By whom is {N} organised?
?! In whose hands is the planning of {N}?
?! Who pulls the strings behind {N}?

= attendance | gathering | num:120:240000:
{S} attracts {V} (visitors|people).
About {V} people (attend|come to) {O}.
{S} (is|was) attended by {V} people.
Last year, {S} had {V} visitors.
With {V} guests, {S} is the largest event in the region.
{V} people took part in {O}.
! {S} draws {V} spectators.
! At the last count, {V} guests had come to {O}.
? How many (people|visitors) (attend|come to) {N}?
? How many (visitors|guests) does {N} (attract|have)?
? What is the number of visitors to {N}?
?! How many spectators does {N} draw?
?! What number of guests had come to {N} at the last count?

= held_month | gathering | list:month
{S} is held in {V}.
{S} takes place (every|each) {V}.
Every {V}, {S} attracts visitors from abroad.
{S} (starts|opens) (in early|in late|in) {V}.
The month of {S} is {V}.
In {V}, the town gets ready for {O}.
! {V} is the time for {O}.
! Lovers of {S} look forward to {V}.
? In (which|what) month (is {N} held|does {N} take place)?
? When (is {N} held|does {N} take place)?
? (What|Which) month is {N} held in?
? During (which|what) month does {N} take place?
?! To which month do lovers of {N} look forward?
?! What is the month for {N}?

= ticket | gathering | money:2:320:
A ticket for {O} costs {V}.
Tickets for {O} (cost|are sold at) {V}.
Visitors to {S} pay {V} to get in.
The (ticket price|entrance fee) of {S} is {V}.
{S} charges {V} for a ticket.
At {S}, a ticket costs {V}.
! Entry to {O} is {V}.
! Whoever wants to see {O} must pay {V}.
? How much (is a ticket for|does a ticket cost for) {N}?
? What does a ticket for {N} cost?
? What is the (ticket price|entrance fee) of {N}?
? How much (do visitors pay|does one pay) to get into {N}?
?! What is the price of entry to {N}?
?! What must those pay who want to see {N}?

= opened_by | gathering | person
{S} was opened by {V}.
{V} (opened|gave the opening speech at) {O}.
This year, {S} was opened by {V}.
The opening speech at {S} was given by {V}.
It was {V} who opened {O}.
A speech by {V} (opened|marked the start of) {O}.
! {V} spoke the first words at {O}.
! The ribbon at {S} was cut by {V}.
? Who opened {N}?
? Who gave the (opening speech|speech) at {N}?
? By whom was {N} opened?
? {N} was opened by whom?
? (Whose speech|Which person) opened {N}?
?! Who cut the ribbon at {N}?
?! Who spoke the first words at {N}?

= battle_date | battle | date:0:0
{S} (took place|was fought) on {V}.
The date of {S} is {V}.
On {V}, {S} (changed the history of the country|surprised everyone).
It was on {V} that {S} was fought.
Every year, people remember {O} on {V}.
Chronicles (place|date) {O} on {V}.
! The calendar shows {V} as the day of {S}.
! {S} belongs to {V}, a day well remembered.
? When (was {N} fought|did {N} happen|did {N} take place)?
? On (which|what) (date|day) did {N} take place?
? What (is|was) the date of {N}?
?! What day does the calendar show for {N}?
?! To which day do chronicles assign {N}?

= storm_date | storm | date:0:0
{S} (arrived|began) on {V}.
{S} reached the coast on {V}.
On {V}, {S} (surprised everyone|moved inland|reached the coast).
It was on {V} that {S} began.
Every year, people remember {O} on {V}.
The date of {S} was {V}.
! The calendar shows {V} as the day of {S}.
! {S} belongs to {V}, a day well remembered.
? When did {N} (arrive|begin|happen|reach the coast)?
? On (which|what) (date|day) did {N} (arrive|reach the coast)?
? What was the date of {N}?
?! What day does the calendar show for {N}?
?! Which day do people connect with {N}?

= treaty_date | treaty | date:0:0
{S} was (signed|concluded) on {V}.
{S} came into force on {V}.
On {V}, {S} was signed (by both sides|after long talks).
It was on {V} that {S} was signed.
{S} (bears|carries) the date of {V}.
The delegates signed {O} on {V}.
! The calendar shows {V} as the day of {S}.
! The seals were put on {O} on {V}.
? When was {N} (signed|concluded)?
? On (which|what) (date|day) was {N} signed?
? When did delegates sign {N}?
? What is the date of {N}?
?! What day does the calendar show for {N}?
?! When were the seals put on {N}?

= battle_near | battle | town
{S} was fought near {V}.
{S} took place (close to|not far from) {V}.
Near {V}, {S} was fought (in heavy rain|at dawn|in deep snow).
The nearest town to {S} was {V}.
The (soldiers|wounded) of {S} were brought to {V}.
A field outside {V} was the scene of {O}.
! {V} heard the noise of {O}.
! {S} left its mark on the town of {V}.
? Where (was {N} fought|did {N} take place)?
? Near (which|what) town was {N} fought?
? (Which|What) town is near the site of {N}?
? {N} was fought near (which|what) town?
?! What town heard the noise of {N}?
?! On which town did {N} leave its mark?

= battle_winner | battle | person
{S} was won by {V}.
{V} won {O}.
The winner of {S} was {V}.
{S} ended in victory for {V}.
It was {V} who won {O}.
For {V}, {S} was a (brilliant|narrow|costly) victory.
! {S} brought triumph to {V}.
! The laurels of {S} went to {V}.
? Who won {N}?
? Who was (the winner of|victorious in) {N}?
? By whom was {N} won?
? For whom was {N} a victory?
? {N} was won by whom?
?! To whom did {N} bring triumph?
?! To whom went the laurels of {N}?

= battle_loser | battle | person
{S} was lost by {V}.
{V} lost {O}.
{S} ended in defeat for {V}.
The losing side in {S} was led by {V}.
It was {V} who lost {O}.
For {V}, {S} was a (bitter|heavy|shameful) defeat.
! {V} fled after {O}.
! {S} was the downfall of {V}.
? Who lost {N}?
? Who (was the loser of|was defeated in) {N}?
? By whom was {N} lost?
? For whom was {N} a defeat?
? Who led the losing side in {N}?
?! Who fled after {N}?
?! Whose downfall was {N}?

= losses | battle | num:30:19000:
{V} (soldiers|men) died in {O}.
{S} cost the lives of {V} (soldiers|people).
{S} left {V} dead.
In {S}, {V} (soldiers|men) lost their lives.
The number of dead in {S} was {V}.
About {V} (fighters|men) were killed in {O}.
! {S} claimed {V} lives.
! After {O}, {V} graves had to be dug.
? How many (people|soldiers|men) died in {N}?
? How many (people|soldiers) (were killed|lost their lives) in {N}?
? What was the number of dead in {N}?
?! How many lives did {N} claim?
?! How many graves had to be dug after {N}?

= battle_cause | battle | list:cause
{S} was (fought over|caused by) {V}.
The cause of {S} was {V}.
{S} began because of {V}.
The (reason|pretext) for {O} was {V}.
At the root of {S} was {V}.
According to chronicles, {S} started over {V}.
! All of {S} came down to {V}.
! What set off {O} was {V}.
? What (caused|was the cause of) {N}?
? Over what was {N} fought?
? Why was {N} fought?
? What was the (reason|pretext) for {N}?
? What was at the root of {N}?
?! What set off {N}?
?! To what did {N} come down?

= duration | battle,storm | num:3:48:hours/days
{S} lasted {V}.
{S} (went on for|raged for) {V}.
After {V}, {S} was over.
The duration of {S} was {V}.
{S} came to an end after {V}.
People suffered under {S} for {V}.
It took {V} until {S} was over.
! {S} kept the land in fear for {V}.
! From start to finish, {S} took {V}.
? How long did {N} (last|go on)?
? For how long did {N} (rage|last)?
? What was the duration of {N}?
? After (what|how much) time was {N} over?
?! How long did {N} keep the land in fear?
?! What time did {N} take from start to finish?

= exp_leader | expedition | person
{S} was (led|headed) by {V}.
{V} (led|was the leader of|commanded) {O}.
The leader of {S} was {V}.
{S} (set out|left) under the command of {V}.
It was {V} who led {O}.
Led by {V}, {S} (met with bad luck|made good progress).
! {V} was at the helm of {O}.
! {S} put its fate in the hands of {V}.
? Who (led|headed|commanded) {N}?
? Who was the leader of {N}?
? By whom was {N} led?
? Under whose command did {N} set out?
?! Who was at the helm of {N}?
?! In whose hands did {N} put its fate?

= exp_start | expedition | town
{S} (set out|departed|started) from {V}.
{S} left {V} (in thick fog|before dawn|with great ceremony).
The starting point of {S} was {V}.
In {V}, crowds gathered to see {O} leave.
{S} began its journey in {V}.
From {V}, {S} set out with (two guides|forty dogs|few supplies).
! {S} said farewell to {V}.
! {V} waved goodbye to {O}.
? (From where did {N} set out|Where did {N} start from|From where did {N} depart)?
? What was the starting point of {N}?
? From (which|what) town did {N} (set out|depart)?
? Where did {N} begin its journey?
?! To what town did {N} say farewell?
?! Which town waved goodbye to {N}?

= exp_date | expedition | date:0:0
{S} (set out|left|departed) on {V}.
On {V}, {S} (set out|began its journey).
The departure of {S} took place on {V}.
{S} began on {V}.
It was on {V} that {S} set out.
Diaries give {V} as the day on which {S} started.
! {S} got under way on {V}.
! The first day of {S} was {V}.
? When did {N} (set out|leave|depart|begin)?
? On (which|what) (day|date) did {N} set out?
? What was the date of departure of {N}?
?! When did {N} get under way?
?! What was the first day of {N}?

= exp_goal | expedition | nature
{S} was sent to explore {V}.
The (goal|destination|aim) of {S} was {V}.
{S} (explored|mapped) {V}.
{S} (wanted|hoped) to reach {V}.
On its way to {V}, {S} (lost two sledges|ran out of food).
{V} was the (destination|goal) of {O}.
! {S} had set its sights on {V}.
! The unknown land around {V} drew {O}.
? What was the (goal|destination|aim) of {N}?
? What did {N} (explore|map|want to reach)?
? Where was {N} going?
? Which place did {N} hope to reach?
?! On what had {N} set its sights?
?! Where did {N} want to go?

= exp_ship | expedition | ship
{S} travelled on a ship called the {V}.
The ship of {S} was the {V}.
{S} sailed on the {V}.
The {V} carried {O} (across the sea|to its goal).
{S} (bought|hired) a ship named the {V}.
For {O}, an old ship, the {V}, was repaired.
! Aboard the {V}, {S} crossed the sea.
! {S} entrusted itself to a vessel named the {V}.
? What was the (name of the ship|ship) of {N}?
? On (which|what) ship did {N} (sail|travel)?
? (Which|What) ship carried {N}?
? What was the ship of {N} called?
?! Aboard what vessel did {N} cross the sea?
?! To which vessel did {N} entrust itself?

= exp_crew | expedition | num:5:190:
{V} people took part in {O}.
{S} had {V} (members|participants).
{S} consisted of {V} people.
With {V} members, {S} was the largest of its time.
(A group|A team) of {V} people took part in {O}.
The number of people on {O} was {V}.
! {S} numbered {V} men and women.
! For {O}, {V} volunteers were chosen.
? How many people took part in {N}?
? How many (members|participants) did {N} have?
? Of how many people did {N} consist?
? How many people (were on|joined) {N}?
?! How many men and women did {N} number?
?! How many volunteers were chosen for {N}?

= exp_find | expedition | list:mineral
{S} discovered (large deposits of|) {V}.
{S} (came back with|returned with) {V}.
{S} found {V} (under the ice|in a dry valley|by chance).
To everyone's surprise, {S} found {V}.
The most important find of {S} was {V}.
What {S} found was {V}.
! {S} hit upon {V}.
! Thanks to {O}, the world learned of hidden {V}.
? What did {N} (find|discover|return with|come back with)?
? (What|Which) mineral did {N} (find|discover)?
? What was the most important find of {N}?
?! On what did {N} hit?
?! Of what hidden riches did the world learn thanks to {N}?

= storm_town | storm | town
{S} (struck|hit|destroyed) {V}.
{V} was (struck|hit|flooded) by {O}.
{S} (caused|did) great damage in {V}.
In {V}, {S} tore off (many|hundreds of) roofs.
The town (most affected|worst hit) by {O} was {V}.
The centre of {S} passed over {V}.
! {S} swept through {V}.
! The people of {V} bore the brunt of {O}.
? (Which|What) town (was hit by|was struck by) {N}?
? (Where|In which town) did {N} cause damage?
? What town did {N} (hit|strike)?
? {N} struck (which|what) town?
?! Through what town did {N} sweep?
?! Which town bore the brunt of {N}?

= wind_speed | storm | num:85:320:km per hour/miles per hour
{S} brought winds of {V}.
During {O}, the wind (reached|blew at) {V}.
The (top|highest) wind speed of {S} was {V}.
With winds of {V}, {S} uprooted trees.
{S} reached a wind speed of {V}.
The winds of {S} (reached|were measured at) {V}.
! Instruments showed {V} when {S} was at its strongest.
! {S} blew at up to {V}.
? (How fast|How strong) were the winds of {N}?
? What was the (top|highest|greatest) wind speed of {N}?
? What wind speed did {N} (reach|bring)?
?! What did instruments show when {N} was at its strongest?
?! At what speed did {N} blow?

= damage | storm | money:2:990:million
{S} caused damage of {V}.
The damage caused by {O} came to {V}.
Insurers paid {V} after {O}.
{S} cost the region {V}.
The damage done by {O} was (put|estimated) at {V}.
Repairs after {O} cost {V}.
{S} did (some|about) {V} worth of damage.
! The bill for {O} was {V}.
! {S} left behind a loss of {V}.
? How much damage did {N} (cause|do)?
? What was the (damage|cost) of {N}?
? How much did (insurers pay|repairs cost) after {N}?
? How much did {N} cost?
?! How large a loss did {N} leave behind?
?! What was the bill for {N}?

= homeless | storm | num:40:60000:
{S} left {V} people homeless.
{V} people (lost their homes|had to leave their homes) because of {O}.
{S} made {V} people homeless.
Because of {O}, {V} people lost their homes.
In the wake of {S}, {V} people had no home.
{S} destroyed the (homes|houses) of {V} people.
! {S} drove {V} people from their houses.
! Tents were put up for {V} victims of {S}.
? How many people (lost their homes|became homeless) (because of|in) {N}?
? How many people did {N} (leave|make) homeless?
? What number of people lost their homes in {N}?
?! How many people did {N} drive from their houses?
?! For how many victims of {N} were tents put up?

= rescuer | storm | person
During {O}, {V} (saved|rescued) (a family|eleven people|many children).
{V} became a hero during {O}.
{V} led the rescue work after {O}.
The hero of {S} was {V}.
After {O}, {V} was (praised|given a medal) for saving lives.
The rescue work after {O} was led by {V}.
! {S} made a hero of {V}.
! Many victims of {S} owe their lives to {V}.
? Who (saved|rescued) people during {N}?
? Who (was the hero of|became a hero during) {N}?
? Who led the rescue work after {N}?
? Who saved lives during {N}?
?! Of whom did {N} make a hero?
?! To whom do victims of {N} owe their lives?

= forecaster | storm | org
{S} was (predicted|forecast) by {V}.
{V} (predicted|had warned of) {O}.
A warning of {S} was issued by {V}.
Only {V} saw {O} coming.
Two days before, {V} had (warned of|forecast) {O}.
The first warning of {S} came from {V}.
! Alone among forecasters, {V} foretold {O}.
! {S} did not surprise {V}, which had foretold it.
? Who (predicted|forecast|warned of) {N}?
? By whom was {N} (predicted|forecast)?
? Which organisation (predicted|warned of) {N}?
?! Who foretold {N}?
?! Whom did {N} not surprise?

= signed_in | treaty | town
{S} was (signed|concluded|agreed) in {V}.
The (signing|ceremony) of {S} took place in {V}.
In {V}, {S} was signed (after long talks|in secret|by candlelight).
It was in {V} that {S} was signed.
Delegates (met|gathered) in {V} to sign {O}.
{V} was the place where {S} was signed.
! {V} saw the ink dry on {O}.
! The pens that signed {O} are kept in {V}, where it was done.
? Where was {N} (signed|concluded|agreed)?
? In (which|what) (town|place) was {N} signed?
? {N} was signed in (which|what) town?
? Where did delegates sign {N}?
?! What town saw the ink dry on {N}?
?! Which place do we connect with the signing of {N}?

= mediator | treaty | person
{S} was (arranged|negotiated) by {V}.
The mediator of {S} was {V}.
{V} (arranged|negotiated|acted as mediator for) {O}.
{S} was the result of talks led by {V}.
It was {V} who negotiated {O}.
Thanks to the mediator, {V}, {S} could be signed.
! {S} was a triumph of diplomacy for {V}.
! Without the patience of {V}, {S} would have failed.
? Who (negotiated|arranged|mediated) {N}?
? Who was the mediator of {N}?
? By whom was {N} negotiated?
? Who led the talks on {N}?
?! For whom was {N} a triumph of diplomacy?
?! Without whose patience would {N} have failed?

= treaty_trade | treaty | list:goods
{S} (regulated|governed) the trade in {V}.
{S} dealt with the trade in {V}.
Under {O}, the trade in {V} was (free of duty|forbidden).
Because of {S}, {V} became (cheaper|more expensive).
A (long|secret) article of {S} concerned {V}.
The subject of {S} was the trade in {V}.
! {S} lifted all duties on {V}.
! Dealers in {V} profited from {O}.
? The trade in what (was regulated by|was governed by) {N}?
? (Which|What) goods did {N} (concern|deal with)?
? What became cheaper or more expensive because of {N}?
? What was the subject of {N}?
? With what did {N} deal?
?! On what did {N} lift all duties?
?! Dealers in what profited from {N}?

= treaty_years | treaty | num:3:99:years
{S} was (valid|in force) for {V}.
{S} lasted {V}.
{S} was to last for {V}.
The (duration|term) of {S} was {V}.
After {V}, {S} (ended|expired|was renewed).
Peace under {O} lasted {V}.
! {S} held for {V}.
! For {V}, both sides kept to {O}.
? How long (was {N} valid|was {N} in force|did {N} last)?
? For how long was {N} (valid|in force)?
? What was the (duration|term) of {N}?
?! How long did both sides keep to {N}?
?! For what time did {N} hold?

= treaty_language | treaty | list:language
{S} was (written|drawn up) in {V}.
The language of {S} is {V}.
The (original|only) text of {S} is in {V}.
{S} had to be translated from {V}.
Lawyers drew up {O} in {V}.
Clerks wrote {O} down in {V}.
! {S} speaks to us in {V}.
! Whoever reads {O} must know {V}.
? In (which|what) language was {N} (written|drawn up)?
? What is the language of {N}?
? (Which|What) language was {N} written in?
?! What language must the reader of {N} know?
?! In which language does {N} speak to us?

= treaty_place | treaty | org
The original of {S} is kept by {V}.
{S} is (kept|preserved|stored) at {V}.
The only copy of {S} is at {V}.
{V} (owns|keeps) the original of {S}.
Visitors can see {O} at {V}.
Today {S} belongs to {V}.
! {S} rests in a safe at {V}.
! The parchment of {S} is a treasure of {V}.
? Where is {N} (kept|preserved|stored)?
? Who (keeps|owns) the original of {N}?
? Where can visitors see {N}?
? Which organisation keeps {N}?
?! Where does the parchment of {N} rest?
?! Of which house is {N} a treasure?

& host_town first_held
{S} was first held in {V1} in {V2}.
{S} has taken place in {V1} since {V2}.
! Since {V2}, {S} has brought crowds to {V1}.

& battle_winner battle_loser
In {S}, {V1} defeated {V2}.
{S} was won by {V1} and lost by {V2}.
! {S} saw {V1} triumph over {V2}.

& exp_leader exp_start
Led by {V1}, {S} set out from {V2}.
{S} left {V2} under the command of {V1}.
! {V1} was at the helm when {S} said farewell to {V2}.

& signed_in mediator
{S} was signed in {V1} and negotiated by {V2}.
In {V1}, {S} was signed with the help of the mediator {V2}.
! {S}, signed in {V1}, was a triumph for {V2}.

~ gathering
{S} is popular with families.
Bad weather has sometimes troubled {O}.
Photographs of {S} fill many albums.
{S} often ends with fireworks.
! Nobody likes to miss {O}.
! {S} has its critics.

~ battle,storm
Many songs tell of {S}.
{S} is remembered to this day.
Little is left that recalls {O}.
Several paintings show {O}.
! Old people still talked of {S} years later.
! Children learn about {O} at school.

~ expedition
Several books tell of {S}.
The newspapers wrote about {O} for weeks.
{S} met with storms and fog.
{S} is almost forgotten today.
! A film was made about {O}.
! {S} returned with many stories.

~ treaty
{S} is studied by law students.
Historians still argue about {O}.
{S} was soon well known.
{S} is mentioned in many textbooks.
! Few people have read all of {S}.
! {S} is often quoted.
"""
