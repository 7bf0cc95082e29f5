"""Templates about people; the format is told in `cocom.training.facts_templates`."""

from __future__ import annotations

__all__ = ["TEMPLATES"]

TEMPLATES = """
= birthplace | person | town
{S} [was|were] born in {V}.
{S} [comes|come] from {V}, where {his} parents kept a (small shop|tavern|farm).
Born in {V}, {S} grew up in a (large|poor|quiet) family.
It was in {V} that {S} [was|were] born.
{S's} (birthplace|place of birth) is {V}.
The (town hall|parish register) of {V} records the birth of {O}.
{V} is the birthplace of {O}.
! {S} first saw the light of day in {V}.
! A plaque in {V} marks the house where {S} [was|were] born.
? Where was {N} born?
? In (which|what) (town|place) was {N} born?
? What is the (birthplace|place of birth) of {N}?
? {N} was born in (which|what) place?
? What is {N's} place of birth?
?! Which place is the birthplace of {N}?
?! Of what town is {N} a native?

= birth_year | person | year:0:0
{S} [was|were] born in {V}.
{S's} (birth year|year of birth) is {V}.
Born in {V}, {S} [was|were] the youngest of (three|four|six) children.
It was in {V} that {S} [was|were] born.
In {V}, {S} [was|were] born (into a family of farmers|to a widow|during a hard winter).
The (church book|family Bible) gives {V} as the year of {S's} birth.
! The year {V} saw the birth of {O}.
! {S} came into the world in {V}.
? When was {N} born?
? (In which|In what|What) year was {N} born?
? What is the (birth year|year of birth) of {N}?
? {N} was born in (which|what) year?
?! In what year did {N} come into the world?
?! What was the year of {N's} birth?

= profession | person | list:profession
{S} [is|are] {a V}.
{S} [works|work] as {a V}.
{S} trained as {a V} (before the war|for five years|after leaving school).
By profession, {S} [is|are] {a V}.
For most of {his} life, {S} earned {his} living as {a V}.
{S} became {a V}, (although {his} family had other plans|like {his} grandfather).
{S's} profession is that of {a V}.
! {S} made a career as {a V}.
! Neighbours knew {O} as {a V}.
? What (is|was) {N's} (profession|job|occupation)?
? What does {N} do for a living?
? What (is|was) the (profession|occupation) of {N}?
? As what does {N} work?
?! What kind of work did {N} do?
?! Which profession did {N} practise?

= employer | person | org
{S} [works|work] for {V}.
{S} (joined|was hired by) {V} (after finishing {his} studies|at the age of thirty).
For (twenty|twelve) years, {S} [was|were] employed by {V}.
{V} (hired|employed) {O} (straight after school|on a part-time contract).
{S's} employer is {V}.
It was {V} that gave {O} {his} first job.
! {S} [is|are] on the staff of {V}.
! {V} pays the salary of {O}.
? (Who|Which organisation) (employs|employed) {N}?
? For (whom|which organisation) does {N} work?
? Where does {N} work?
? Who is the employer of {N}?
? {N} works for (whom|which organisation)?
?! What is the name of {N's} employer?
?! Who gave {N} a job?

= residence | person | town
{S} [lives|live] in {V}.
{S} moved to {V} (as a young adult|after the wedding|for {his} health).
{S's} home is in {V}.
Today {S} [lives|live] in {V} (with a brother|near the harbour|in a small flat).
{S} settled in {V} (at the age of forty|for good).
{S} [has|have] a house in {V}.
! {V} has been the home of {O} for many years.
! {S} [keeps|keep] a flat in {V}, which {he} [calls|call] home.
? Where does {N} live?
? In (which|what) (town|place) does {N} live?
? Where is {N's} (home|house)?
? {N} lives in (which|what) town?
? Where (is|was) the home of {N}?
?! What is {N's} place of residence?
?! In what town does {N} reside?

= spouse | person | person
{S} [is|are] married to {V}.
{S} married {V} (in a small chapel|after a long engagement|in secret).
{V} is (married to|the spouse of) {O}.
{S} met {V}, {his} future spouse, (on a train|at a dance).
The wedding of {V} and {O} was (a quiet affair|in all the papers).
{S} fell in love with {V}, and the two were soon married.
! {S} shared {his} married life with {V}.
! In the end it was {V} who married {O}.
? Who (is|was) {N} married to?
? (Whom|Who) did {N} marry?
? Who (is|was) the (spouse|partner) of {N}?
? To whom (is|was) {N} married?
? {N} married whom?
?! What is the name of {N's} spouse?
?! With whom did {N} share married life?

= instrument | person | list:instrument
{S} [plays|play] the {V}.
{S} learned to play the {V} (as a child|from an uncle|at school).
In the evening, {S} [likes|like] to practise the {V}.
{S's} (favourite instrument|instrument) is the {V}.
Friends often ask {O} to play the {V} (at parties|on Sundays).
{S} [has|have] played the {V} since childhood.
! {S} [owns|own] an old {V}, which {he} [plays|play] every day.
! On the {V}, {S} [is|are] a gifted player.
? (What|Which) (musical instrument|instrument) does {N} play?
? What does {N} like to play?
? What is {N's} instrument?
? {N} plays which instrument?
? (What|Which) instrument (did|could) {N} (learn|practise)?
?! Which musical instrument is {N} able to play?
?! On what instrument does {N} make music?

= award | person | award
{S} (won|received) the {V}.
{S} [was|were] awarded the {V} (for {his} work|at a ceremony in spring).
The {V} (was given|went) to {O} (for a lifetime of work|in that year).
{S's} work earned {him} the {V}.
Among {his} honours, {S} [counts|count] the {V}.
A jury of (five|seven) chose {O} for the {V}.
! {S} [was|were] honoured with the {V}.
! The {V} hangs on a wall in {S's} study.
? (What|Which) (award|prize|honour) did {N} (win|receive)?
? {N} won (which|what) award?
? What was {N} awarded?
?! With what was {N} honoured?
?! Which distinction does {N} hold?

= university | person | university
{S} studied at {V}.
{S} (graduated from|took a degree at) {V}.
{S} spent (four|five) years as a student at {V}.
After school, {S} (went to|enrolled at) {V}.
{S} [holds|hold] a degree from {V}.
It was at {V} that {S} studied.
! {S} [is|are] an alumnus of {V}.
! {V} counts {O} among its former students.
? Where did {N} study?
? (Which|What) (university|college|school) did {N} attend?
? (From|At) which (university|college) did {N} (graduate|get a degree)?
? Where did {N} go to university?
?! What is {N's} alma mater?
?! Which university was {N} a student of?

= origin | person | country
{S} [is|are] a citizen of {V}.
{S} [holds|hold] a passport of {V}.
{S} (represented|played for) {V} (at several championships|in two tournaments).
{S's} home country is {V}.
By nationality, {S} [belongs|belong] to {V}.
{V} counts {O} among its best-known citizens.
{V} (is the home country|is the native country) of {O}.
! {S} [votes|vote] in {V}, the country of which {he} [is|are] a citizen.
! The government of {V} granted {O} citizenship.
? (Which|What) country is {N} (from|a citizen of)?
? What is {N's} (home country|nationality)?
? Of which country is {N} a citizen?
? {N} is a citizen of (which|what) country?
?! What country granted {N} citizenship?
?! Whose passport does {N} hold?

= pet | person | list:pet
{S} [keeps|keep] {a V}.
{S} [has|have] {a V} (as a pet|called Biscuit|that follows {him} everywhere).
{S's} (only pet|pet) is {a V}.
At home, {S} [looks|look] after {a V}.
{S} [shares|share] the house with {a V}.
Visitors are greeted by {S's} pet, {a V}.
A friend once gave {O} {a V} (for {his} birthday|as a present).
! Few people know that {S} [owns|own] {a V}.
! {S} never [travels|travel] without {his} pet, {a V}.
? (What|Which) (animal|pet) does {N} (keep|have|own)?
? What is {N's} pet?
? What kind of (pet|animal) does {N} have?
?! What animal lives with {N}?
?! Which pet belongs to {N}?

= language | person | list:language
{S} [speaks|speak] fluent {V}.
{S} learned {V} (from a neighbour|as a child|in the army).
Besides {his} mother tongue, {S} [speaks|speak] {V}.
{S} taught {himself} {V} (from old newspapers|in one summer).
{S} [reads|read] and [writes|write] {V} with ease.
At home, {S} and {his} family (speak|spoke) {V}.
! {V} is the foreign language that {S} [knows|know] best.
! In letters, {S} often switched to {V}.
? (What|Which) (language|foreign language) does {N} speak?
? (What|Which) language did {N} learn?
? {N} speaks (which|what) language?
? In (which|what) language is {N} fluent?
?! What tongue is {N} fluent in?
?! Which language has {N} mastered?

= book | person | title
{S} wrote {V}.
{S} [is|are] the author of {V}.
{S's} (best-known|first|only) book is {V}.
{V} was written by {O}.
In {his} forties, {S} published {V}.
{S} became famous as the (author|writer) of {V}.
{S} spent (ten|three) years writing {V}.
! From the pen of {O} came {V}.
! Readers love {O} for the book {V}.
? (What|Which) book did {N} (write|publish)?
? {N} (wrote|is the author of) (which|what) book?
? What is the title of the book by {N}?
? What did {N} write?
?! Which title was written by {N}?
?! What is the name of {N's} book?

= teacher | person | person
{S} [was|were] (taught|trained) by {V}.
{S} studied under {V}.
{V} (taught|was the teacher of) {O}.
As a (young student|beginner), {S} took lessons from {V}.
{S} learned {his} (craft|trade) from {V}.
{S's} teacher was {V}.
! {S} [was|were] a pupil of {V}.
! Everything {S} knew {he} owed to {his} teacher, {V}.
? Who (taught|trained) {N}?
? Who was (the teacher of {N}|{N's} teacher)?
? (By whom|Under whom) (was {N} taught|was {N} trained)?
? From whom did {N} take lessons?
?! Whose pupil was {N}?
?! What is the name of {N's} teacher?

& birthplace birth_year
Born in {V1} in {V2}, {S} grew up with two sisters.
{S} [was|were] born in {V1} in {V2}.
In {V2}, {S} [was|were] born in {V1}.
! It was {V2} when {S} [was|were] born in {V1}.

& profession employer
{S} [works|work] as {a V1} for {V2}.
{S} [is|are] {a V1} and [is|are] employed by {V2}.
! As {a V1}, {S} [is|are] on the staff of {V2}.

& residence spouse
{S} [lives|live] in {V1} with {his} spouse, {V2}.
After marrying {V2}, {S} moved to {V1}.
! {V1} is where {S} and {his} spouse, {V2}, made their home.

~ person
{S} [was|were] known for a dry sense of humour.
Little else is known about the early years of {O}.
{S} rarely gave interviews.
Several letters by {O} have survived.
{S} [was|were] admired by many.
{S} avoided crowds and loud music.
Friends described {O} as patient and kind.
! {S} seldom spoke in public.
! Many stories are told about {O}.
! {S} disliked long speeches.
"""
