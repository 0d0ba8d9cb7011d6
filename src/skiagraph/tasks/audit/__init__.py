"""The command `audit`: does a set of synthetic images hold copies of the images that its model learned from?"""
