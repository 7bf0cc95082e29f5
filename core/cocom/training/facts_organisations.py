"""Templates about organisations; the format is told in `cocom.training.facts_templates`."""

from __future__ import annotations

__all__ = ["TEMPLATES"]

TEMPLATES = """
= founder | org | person
{S} was (founded|started|set up) by {V}.
{V} (founded|established) {O}.
The founder of {S} was {V}.
It was {V} who founded {O}.
The founding of {S} was the work of {V}.
Founded by {V}, {S} began in a single room.
! {S} owes its existence to {V}, who brought it into being.
! {V} brought {O} into being.
? Who (founded|established|started|set up) {N}?
? Who was the founder of {N}?
? By whom was {N} founded?
? {N} was founded by whom?
? What is the name of the founder of {N}?
?! To whom does {N} owe its existence?
?! Who brought {N} into being?

= founded_year | org | year:0:0
{S} was (founded|established|set up) in {V}.
{S} has existed since {V}.
In {V}, {S} was founded (with borrowed money|after a long debate|by royal charter).
Founded in {V}, {S} (is one of the oldest of its kind|soon ran into debt).
The (founding|history) of {S} goes back to {V}.
It was in {V} that {S} was founded.
! {S} began its life in {V}.
! The birth year of {S} is {V}.
? When was {N} (founded|established|set up)?
? In (which|what) year was {N} founded?
? (What|Which) year was {N} established?
? Since when has {N} existed?
?! What year saw the birth of {N}?
?! When did {N} begin its life?

= headquarters | org | town
{S} is (based|located) in {V}.
{S} has its (headquarters|main office|head office) in {V}.
The headquarters of {S} are in {V}.
In {V}, {S} occupies a (brick|modern|former factory) building.
{S} moved (its seat|its offices|) to {V}.
From its offices in {V}, {S} keeps in touch with its branches.
! The seat of {S} is {V}.
! {V} is home to {O}.
? Where is {N} (based|located)?
? Where (is the head office|are the headquarters) of {N}?
? In (which|what) (town|place) is {N} (based|located)?
? {N} is based in (which|what) town?
?! What town is home to {N}?
?! Which town is the seat of {N}?

= director | org | person
The (head|director|president) of {S} is {V}.
{S} is (led|headed|run) by {V}.
{V} (leads|runs|is the director of) {O}.
{V} was appointed director of {O} (last year|in May).
{S} chose {V} as its new director.
At present, {S} is led by {V}.
! {V} holds the top post at {O}.
! At the top of {S} stands {V}.
? Who (leads|runs|heads) {N}?
? Who is the (director|head|leader) of {N}?
? By whom is {N} (led|headed)?
? {N} is led by whom?
? What is the name of the director of {N}?
?! Who holds the top post at {N}?
?! Who stands at the top of {N}?

= staff | org | num:12:48000:
{S} employs {V} people.
{S} has {V} employees.
(About|Some) {V} people work for {O}.
{S} has a staff of {V}.
The staff of {S} consists of {V} people.
With {V} employees, {S} is the largest employer in town.
The number of people who work for {O} is {V}.
! {S} pays wages to {V} people.
! The workforce of {S} numbers {V}.
? How many (people work for|people are employed by) {N}?
? How many (employees|workers) does {N} have?
? How many people does {N} employ?
? What is the number of employees of {N}?
?! How large is the workforce of {N}?
?! To how many people does {N} pay wages?

= emblem | org,settlement,gathering,software | list:animal
{S} has {a V} as its (emblem|mascot).
The (mascot|emblem|symbol) of {S} is {a V}.
The logo of {S} shows {a V}.
{A V} is the (emblem|mascot) of {O}.
{S} chose {a V} as its (symbol|emblem).
On posters, {S} is represented by {a V}.
! {S} can be recognised by a picture of {a V}.
! A drawing of {a V} stands for {O}.
? (What|Which) animal is the (mascot|emblem|symbol) of {N}?
? What is the (mascot|emblem) of {N}?
? (What|Which) animal does the logo of {N} show?
? What animal did {N} choose as its symbol?
?! By the picture of what animal can {N} be recognised?
?! Which animal stands for {N}?

= partner | org | org
{S} works closely with {V}.
{S} signed (an agreement|a contract) with {V}.
The (main partner|closest partner) of {S} is {V}.
{S} formed a partnership with {V}.
{V} (is a partner of|cooperates with) {O}.
Together with {V}, {S} runs a training centre.
! {S} joined hands with {V}.
! {V} has become an ally of {O}.
? (Who|Which organisation) is the (main partner|partner) of {N}?
? With whom does {N} (work|cooperate)?
? With (which|what) organisation did {N} sign an agreement?
? {N} works closely with (whom|which organisation)?
?! With whom did {N} join hands?
?! Who has become an ally of {N}?

= journal | society | title
{S} publishes a magazine called {V}.
The (magazine|journal) of {S} is called {V}.
Members of {S} receive the magazine {V}.
Twice a year, {S} (publishes|prints) its journal, {V}.
{S} is (known for|the publisher of) the magazine {V}.
News from {S} appears in its magazine, {V}.
! {V} is the name under which {S} issues its journal.
! Readers follow {O} through its journal, {V}.
? What is the (name|title) of the (magazine|journal) of {N}?
? (Which|What) (magazine|journal) does {N} publish?
? What is the magazine of {N} called?
?! Under what title does {N} issue its journal?
?! Through which journal do readers follow {N}?

= company_goods | company | list:goods
{S} makes {V}.
{S} (produces|sells|manufactures) {V}.
{S} (earns|made) its (first profits|money) with {V}.
The (main|best-selling) products of {S} are {V}.
{V} are the main (product|business) of {O}.
{S} began as a (maker|seller) of {V}.
In its factories, {S} makes {V}.
! {S} supplies the world with {V}.
! {V} leave the factories of {S} every day.
? What does {N} (make|produce|sell|manufacture)?
? What (goods|products) does {N} (make|sell)?
? What are the main products of {N}?
? {N} is a maker of what?
?! With what does {N} supply the world?
?! What leaves the factories of {N} every day?

= budget | org | money:2:950:million
{S} has (a yearly|an annual) budget of {V}.
The (yearly|annual) budget of {S} is {V}.
Each year, {S} spends {V}.
Last year, {S} spent {V}.
{S} can spend {V} a year.
With a budget of {V}, {S} is (well off|far from rich).
! A sum of {V} passes through the books of {S} each year.
! The expenses of {S} come to {V} a year.
? What is the (budget|annual budget|yearly budget) of {N}?
? How much does {N} spend (each year|every year|a year)?
? How much money (can|does) {N} spend per year?
? How large is the budget of {N}?
?! What do the yearly expenses of {N} come to?
?! What sum passes through the books of {N} each year?

= working_language | society | list:language
The working language of {S} is {V}.
Meetings of {S} are held in {V}.
{S} (uses|works in) {V}.
At {S}, (most people speak|everyone speaks) {V}.
All (letters|documents) of {S} are written in {V}.
{S} chose {V} as its official language.
! Whoever joins {O} has to speak {V}.
! {S} conducts its business in {V}.
? (What|Which) language (is used at|is spoken at) {N}?
? What is the (official|working) language of {N}?
? In (which|what) language are meetings of {N} held?
? (What|Which) language does {N} use?
?! In what language does {N} conduct its business?
?! What must one speak in order to join {N}?

= sponsor | society,gathering,expedition | org
{S} (is|was) sponsored by {V}.
{V} (sponsored|paid for) {O}.
The (main sponsor|sponsor) of {S} (is|was) {V}.
{S} (received|got) its money from {V}.
Money for {O} came from {V}.
{S} was made possible by a gift from {V}.
! {V} gave its financial backing to {O}.
! Without the money of {V}, {S} would have been impossible.
? Who (sponsored|paid for) {N}?
? Who was the (main sponsor|sponsor) of {N}?
? By whom was {N} (sponsored|paid for)?
? Which organisation (sponsored|paid for) {N}?
?! Who gave financial backing to {N}?
?! Whose money made {N} possible?

& founder founded_year
{S} was founded by {V1} in {V2}.
In {V2}, {V1} founded {O}.
! {V1} brought {O} into being in {V2}.

& director headquarters
{S}, based in {V2}, is led by {V1}.
From {V2}, {V1} runs {O}.
! {V1} holds the top post at {O}, whose seat is {V2}.

~ org
{S} has often been in the news.
{S} is well known among experts.
Few people have heard of {O}.
{S} celebrates its birthday every year.
There have been rumours about {O}.
{S} takes part in several fairs.
! {S} has many friends in parliament.
! Newspapers like to write about {O}.
"""
